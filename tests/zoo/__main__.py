"""`python -m tests.zoo [FAMILY ..]`: all families against `transformers`, and the page that says how they fare.

Oracles are made once, in a cache outside of the repository. Without names all families are checked (about 20 minutes
on two cores) and docs/zoo.md is written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache" / "weft" / "oracles"

LOADED = 1e-5
"""Experts are computed another way in a model that was loaded: its float32 logits differ by rounding alone."""


def check(family: str, cache: Path) -> dict[str, Any]:
    """The findings about one family, as plain data."""
    import numpy as np
    from weft.lang.diagnostics import WeftError
    from weft.lang.render import render

    from .check import Finding, check_family
    from .oracle import cached, reloaded

    began = time.monotonic()
    findings: list[Finding] = []
    error = ""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            oracles = cached(cache, family)
            for finding in check_family(family, oracles, Path(scratch)):
                findings.append(finding)
            for label, folder in oracles.items():
                inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "logits.npz")
                case = {"input_ids": inputs["plain_ids"]}
                if "dec_ids" in inputs:
                    case["decoder_input_ids"] = inputs["dec_ids"]
                again = reloaded(family, Path(scratch) / f"{label}-hf", case)
                known = outputs["plain_f32"]
                difference = float(np.abs(again - known).max() / np.sqrt((known**2).mean()))
                same = difference < LOADED
                findings.append(Finding(f"transformers loads it ({label})", same, f"{difference:.1e}"))
        except WeftError as refused:
            error = render(refused.diagnostics)
        except Exception:  # one family that breaks must not hide how the others fare; it counts as failed
            error = traceback.format_exc()
    return {
        "family": family,
        "passed": not error and all(f.passed for f in findings),
        "seconds": round(time.monotonic() - began, 1),
        "error": error,
        "findings": [[f.claim, f.passed, f.shown] for f in findings],
    }


def main() -> int:
    from .oracle import FAMILIES

    parser = argparse.ArgumentParser("python -m tests.zoo", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of the {len(FAMILIES)} (default: all)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where oracles are kept")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, help="also write all findings as JSON")
    arguments = parser.parse_args()
    unknown = [f for f in arguments.families if f not in FAMILIES]
    if unknown:
        parser.error(f"no such family: {', '.join(unknown)}")
    names = arguments.families or list(FAMILIES)
    results = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for result in pool.map(check, names, [arguments.cache] * len(names)):
            results.append(result)
            word = "ok" if result["passed"] else "FAILED"
            print(f"{result['family']:24} {word:6} {len(result['findings']):3} claims {result['seconds']:6.1f} s")
            for claim, passed, shown in result["findings"]:
                if not passed:
                    print(f"    {claim}: {shown}")
            if result["error"]:
                print(result["error"])
            sys.stdout.flush()
    passed = sum(r["passed"] for r in results)
    print(f"{passed} of {len(results)} families in full")
    if arguments.results:
        arguments.results.write_text(json.dumps(results, indent=1))
    if not arguments.families:
        from .page import page

        (ROOT / "docs" / "zoo.md").write_text(page(results), encoding="utf-8")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
