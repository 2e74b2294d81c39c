"""Inference side by side: Weft, onnxruntime-genai, transformers and llama.cpp on the same random weights, in turns.

    python benchmarks/inference.py setup    # environments of the other systems
    python benchmarks/inference.py models   # checkpoints, and what every system makes of them
    python benchmarks/inference.py run      # rounds; goes on where it stopped
    python benchmarks/inference.py report   # Markdown

All is kept in one folder (--work). A row is one system with one format of the weights; every round runs each row in a
process of its own, so that memory is told and no row profits from another. `report` exits with 1 when rows in float32
do not write the same first tokens: then something is measured that is not the same model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from inference.environments import ENVIRONMENTS, make_environment
from inference.measuring import Moment
from inference.reading import results
from inference.report import machine, markdown
from inference.shapes import SHAPES, Shape, write
from inference.variants import VARIANTS, Place, Variant, make

HERE = Path(__file__).parent
WORKERS = {"weft": "weft", "genai": "genai", "transformers": "transformers", "llama.cpp": "llama"}
STANDARD = ("gpt2-125m", "llama-125m", "llama-1b")
CALM = 0.1  # processors that others may use when a row begins


def main() -> int:
    asked = _arguments()
    place = Place(Path(asked.work).resolve())
    place.root.mkdir(parents=True, exist_ok=True)
    shapes = [SHAPES[name] for name in asked.shapes.split(",")]
    return {"setup": _setup, "models": _models, "run": _measure, "report": _report}[asked.step](asked, place, shapes)


def _arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("setup", "models", "run", "report"))
    parser.add_argument("--work", default="inference-benchmark", help="the folder for all of it")
    parser.add_argument("--shapes", default=",".join(STANDARD), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--rows", default="*", help="patterns of names with commas between them: `weft-*,genai-int4-*`")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2, help="measurements of a row in each round; the median counts")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a calm machine before each row")
    parser.add_argument("--results", default="results.jsonl", help="a file in the folder")
    return parser.parse_args()


def _setup(asked: Namespace, place: Place, shapes: Sequence[Shape]) -> int:
    failed = []
    for name in ENVIRONMENTS:
        try:
            make_environment(place.root, name)
        except subprocess.CalledProcessError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
    print(f"ready: {[name for name in ENVIRONMENTS if name not in failed]}, failed: {failed}")
    return 1 if failed else 0


def _models(asked: Namespace, place: Place, shapes: Sequence[Shape]) -> int:
    failed = 0
    for shape in shapes:
        if not (place.checkpoint(shape) / "model.safetensors").exists():
            write(shape, place.checkpoint(shape))
        for variant in _chosen(asked, shape):
            if variant.files_of:
                continue
            began = time.perf_counter()
            there = place.artifact(shape, variant).exists()
            try:
                make(place, shape, variant)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{shape.name} {variant.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            if not there:
                size = place.size(shape, variant) / 2**20
                print(f"{shape.name} {variant.name}: {size:,.0f} MiB, {time.perf_counter() - began:.0f} s", flush=True)
    return 1 if failed else 0


def _measure(asked: Namespace, place: Place, shapes: Sequence[Shape]) -> int:
    from weft.runtime.bench.bandwidth import Reader

    file = place.root / asked.results
    settings = {"prompt": asked.prompt, "tokens": asked.tokens, "threads": asked.threads}
    done = {(r["shape"], r["variant"], r["round"]) for r in results(file) if settings.items() <= r.items()}
    failed = set()
    for shape in shapes:
        variants = [v for v in _chosen(asked, shape) if place.there(shape, v)]
        for number in range(asked.rounds):
            turn = [*variants[number % len(variants) :], *variants[: number % len(variants)]] if variants else []
            for variant in turn:
                key = (shape.name, variant.name, number)
                if key in done or key[:2] in failed:
                    continue
                _wait(asked.patience)
                bandwidth = Reader(asked.threads).read()
                found = _run(asked, place, shape, variant)
                if found is None:
                    failed.add(key[:2])
                    continue
                line = {"shape": shape.name, "variant": variant.name, "round": number, "bandwidth": bandwidth, **found}
                with file.open("a") as out:
                    out.write(json.dumps(line) + "\n")
                seconds = min(x["decode"] for x in found["rounds"])
                prefill = found["prompt"] / min(x["prefill"] for x in found["rounds"])
                print(f"{number} {shape.name} {variant.name}: prefill {prefill:,.0f}, "
                      f"decode {found['tokens'] / seconds:.1f} tokens/s, others "
                      f"{max(x['others'] for x in found['rounds']):.2f}", flush=True)  # fmt: skip
    return 1 if failed else 0


def _run(asked: Namespace, place: Place, shape: Shape, variant: Variant) -> dict[str, object] | None:
    """One row once: what its worker says, or None when it failed."""
    command = [
        str(place.python(variant)), "-m", f"inference.workers.{WORKERS[variant.system]}",
        str(place.artifact(shape, variant)), "--vocabulary", str(shape.vocabulary), "--dtype", variant.dtype,
        "--prompt", str(asked.prompt), "--tokens", str(asked.tokens), "--repeats", str(asked.repeats),
        "--threads", str(asked.threads),
    ]  # fmt: skip
    settings = {**os.environ, "OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(command, cwd=HERE, env=settings, capture_output=True, text=True)
    if ran.returncode:
        print(f"{shape.name} {variant.name} ended with {ran.returncode}: {ran.stderr[-1000:]}", file=sys.stderr)
        return None
    return dict(json.loads(ran.stdout.strip().splitlines()[-1]))


def _wait(patience: float) -> None:
    """Until others leave the machine alone, or patience ends."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = Moment.now()
        time.sleep(min(2.0, patience))
        if before.others(Moment.now()) <= CALM:
            return


def _report(asked: Namespace, place: Place, shapes: Sequence[Shape]) -> int:
    text, agree = markdown(place, results(place.root / asked.results))
    print(f"# Inference, side by side\n\n{machine()}.\n\n{text}")
    return 0 if agree else 1


def _chosen(asked: Namespace, shape: Shape) -> list[Variant]:
    patterns = asked.rows.split(",")
    return [v for v in VARIANTS.values() if v.covers(shape) and any(fnmatch(v.name, p) for p in patterns)]


if __name__ == "__main__":
    raise SystemExit(main())
