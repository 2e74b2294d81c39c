"""docs/zoo.md: family by family, what it is, how long it is in Weft, and how near to `transformers` it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers

ROOT = Path(__file__).resolve().parents[2]
STDLIB = ROOT / "stdlib"
LIMITS: dict[str, str] = json.loads((Path(__file__).parent / "limits.json").read_text())
"""What is missing in families that are not there in full, in a sentence each."""

_HEAD = """\
# The zoo

Every family below is a short `.llm` file: the model, its published sizes and the map of its checkpoints. This page is
written by `python -m tests.zoo`, which makes tiny random models of `transformers` {version} for each family, with two
sets of weights (normal, and small embeddings, which bring a wrong epsilon to light), and holds Weft against them:

- **float64**: the largest difference between Weft's float64 reference and `transformers` in true float64, as a share of
  the logits' root mean square; whole rows, and rows padded on either side.
- **float32**: the largest error of any back end (PyTorch, ONNX Runtime; whole, cached in random pieces, padded left and
  right, packed) in units of what rounding makes of the same program; 4 is the limit of the root mean square, 8 of the
  largest entry.
- **greedy**: 16 tokens through the derived cache, in PyTorch and in ONNX Runtime, equal to what `transformers`
  generates (up to tokens whose float64 margin is below float32's rounding).
- **back**: the export holds the tensors of the original bit for bit, under the same names, and `transformers` loads it
  with the same logits.

{passed} of {total} configurations pass in full. A family whose own cached run differs from its full run is judged by
its full run.

"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The whole page from the findings about all families."""
    passed = sum(r["passed"] for r in results)
    out = [_HEAD.format(version=transformers.__version__, passed=passed, total=len(results))]
    out.append("| family | in Weft | float64 | float32 | greedy | back |\n|---|---|---|---|---|---|\n")
    for result in sorted(results, key=lambda r: r["family"]):
        out.append(_row(result))
    limited = [r for r in results if r["family"] in LIMITS or not r["passed"]]
    if limited:
        out.append("\n## What is missing\n\n")
        for result in sorted(limited, key=lambda r: r["family"]):
            reason = LIMITS.get(result["family"]) or _first_line(result)
            out.append(f"- `{result['family']}`: {reason}\n")
    out.append(_lines())
    return "".join(out)


def _row(result: Mapping[str, Any]) -> str:
    findings = result["findings"]
    exact = [float(shown) for claim, _, shown in findings if claim.startswith("logits") or "row alone" in claim]
    ratios = [float(m[1]) for _, _, shown in findings if (m := re.match(r"rms ([\d.]+)", shown))]
    greedy = [ok for claim, ok, _ in findings if claim.startswith("greedy,")]
    back = [ok for claim, ok, _ in findings if claim.startswith(("written back", "transformers loads"))]
    cells = [
        f"`{result['family']}`",
        _where(result["family"]),
        f"{max(exact):.0e}" if exact else "-",
        f"{max(ratios):.1f}" if ratios else "-",
        "yes" if greedy and all(greedy) else ("no" if greedy else "-"),
        "yes" if back and all(back) else "no",
    ]
    return f"| {' | '.join(cells)} |\n"


def _where(family: str) -> str:
    """The file of a family, and its lines of code."""
    from .oracle import FAMILIES

    config = transformers.AutoConfig.for_model(FAMILIES[family]["type"])
    names = {FAMILIES[family]["type"], *_architectures(type(config))}
    for path in sorted(STDLIB.rglob("*.llm")):
        heads = [h.split(" like ")[0] for h in re.findall(r"^checkpoint ([^{]*)", path.read_text(), re.MULTILINE)]
        if any(f'"{name}"' in head for head in heads for name in names):
            return f"`{path.relative_to(STDLIB).with_suffix('')}`, {len(code(path))} lines"
    return "-"


def _architectures(config: type) -> list[str]:
    mappings = (
        transformers.MODEL_FOR_CAUSAL_LM_MAPPING, transformers.MODEL_FOR_MASKED_LM_MAPPING,
        transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    )  # fmt: skip
    return [mapping[config].__name__ for mapping in mappings if config in mapping]


def code(path: Path) -> list[str]:
    """The lines of a file that are neither empty nor comments."""
    return [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]


def _first_line(result: Mapping[str, Any]) -> str:
    if result["error"]:
        return str(result["error"]).strip().splitlines()[0]
    failed = [f"{claim} ({shown})" for claim, ok, shown in result["findings"] if not ok]
    return "does not pass: " + "; ".join(failed[:3])


def _lines() -> str:
    """How large the library is beside what it stands for."""
    models = sum(len(code(p)) for p in (STDLIB / "models").glob("*.llm"))
    blocks = sum(len(code(p)) for p in STDLIB.glob("*.llm"))
    folder = Path(transformers.__file__).parent / "models"
    largest = sorted((len(p.read_text().splitlines()) for p in folder.glob("*/modeling_*.py")), reverse=True)
    median = largest[len(largest) // 2]
    return (
        "\n## How long it is\n\n"
        f"All models and maps together are {models:,} lines of `.llm`, the blocks that they share {blocks:,}. One "
        f"`modeling_*.py` of `transformers` has {median:,} lines (median of {len(largest)}; the longest has "
        f"{largest[0]:,}).\n"
    )
