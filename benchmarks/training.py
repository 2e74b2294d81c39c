"""Training side by side: Weft, transformers, litgpt and plain PyTorch on the same shapes, in turns.

    python benchmarks/training.py setup    # the environment of litgpt
    python benchmarks/training.py run      # rows; goes on where it stopped
    python benchmarks/training.py report   # Markdown

A row is a shape, a precision and whether `torch.compile` runs. Every system trains in a process of its own; they take
turns step by step, so that a busy machine slows all alike, and ratios are taken within a round. A step is the loss,
the backward pass, clipping to norm 1, fused AdamW. `report` exits with 1 where Weft is behind the best of the others
by more than the bound, in tokens per second or in peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

from training.report import behind, report_row

HERE = Path(__file__).parent
SYSTEMS = ("weft", "transformers", "litgpt", "plain")
ROWS = {
    f"{shape}-{dtype}-{mode}": (shape, dtype, mode)
    for shape in ("llama", "gpt2", "llama-1b", "gpt2-124m", "llama-tiny", "gpt2-tiny")
    for dtype in ("f32", "bf16")
    for mode in ("eager", "compile")
}
STANDARD = "llama-f32-*,llama-bf16-eager,gpt2-f32-eager,gpt2-bf16-eager"

def main() -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("setup", "run", "report"))
    parser.add_argument("--work", default="training-benchmark", help="the folder for all of it")
    parser.add_argument("--rows", default=STANDARD, help=f"patterns with commas between them, of {', '.join(ROWS)}")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=2, help="rounds before those that count")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--results", default="results.jsonl", help="a file in the folder")
    asked = parser.parse_args()
    work = Path(asked.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    return {"setup": _setup, "run": _measure, "report": _report}[asked.step](asked, work)


def _python(work: Path, system: str) -> Path:
    """The interpreter of a system: this one, but for litgpt."""
    if system != "litgpt":
        return Path(sys.executable)
    return work / "environments" / system / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _setup(asked: Namespace, work: Path) -> int:
    python = _python(work, "litgpt")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
    packages = HERE / "training" / "litgpt.txt"
    return subprocess.run([str(python), "-m", "pip", "install", "-r", str(packages)]).returncode


def _measure(asked: Namespace, work: Path) -> int:
    file = work / asked.results
    done = {r["row"] for r in _results(file) if r["settings"] == _settings(asked)}
    patterns = asked.rows.split(",")
    failed = 0
    for name in (n for n in ROWS if any(fnmatch(n, p) for p in patterns)):
        if name in done:
            continue
        found = _row(asked, work, name)
        failed += len(found) < len(asked.systems.split(","))
        with file.open("a") as out:
            out.write(json.dumps({"row": name, "settings": _settings(asked), "systems": found}) + "\n")
        print(_line(name, found), flush=True)
    return 1 if failed else 0


def _settings(asked: Namespace) -> dict[str, Any]:
    return {key: getattr(asked, key) for key in ("batch", "tokens", "threads", "device", "rounds")}


def _row(asked: Namespace, work: Path, name: str) -> dict[str, Any]:
    """One row: the systems step by step in turns. A system that fails is said and left out."""
    shape, dtype, mode = ROWS[name]
    running: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, Any] = {}
    for system in asked.systems.split(","):
        command = [
            str(_python(work, system)), "-m", "training.worker", system, "--shape", shape, "--dtype", dtype,
            "--rows", str(asked.batch), "--tokens", str(asked.tokens), "--threads", str(asked.threads),
            "--device", asked.device, *(("--compile",) if mode == "compile" else ()),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
        errors = (work / f"{name}-{system}.log").open("w")
        running[system] = subprocess.Popen(
            command, cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        _take(running, found, system, name, work)
    for number in range(asked.warm + asked.rounds):
        order = list(running)
        for system in order[number % max(1, len(order)) :] + order[: number % max(1, len(order))]:
            stdin = running[system].stdin
            assert stdin is not None
            stdin.write("\n")
            stdin.flush()
            _take(running, found, system, name, work)
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    for system in running:
        found[system]["steps"] = found[system]["steps"][asked.warm :]
    return {system: values for system, values in found.items() if system in running}


def _take(running: dict[str, subprocess.Popen[str]], found: dict[str, Any], system: str, name: str, work: Path) -> None:
    """The next line of a system; one that ended is left out from here on."""
    stdout = running[system].stdout
    assert stdout is not None
    line = stdout.readline()
    while line and not line.startswith("{"):
        line = stdout.readline()
    if not line:
        print(f"{name} {system} ended with {running.pop(system).wait()}: {work / f'{name}-{system}.log'}", flush=True)
        return
    values = json.loads(line)
    if system in found:
        found[system]["steps"].append(values)
    else:
        found[system] = {**values, "steps": []}


def _results(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _line(name: str, found: dict[str, Any]) -> str:
    parts = [f"{s}: {median(x['seconds'] for x in v['steps']):.2f} s" for s, v in found.items() if v["steps"]]
    return f"{name}: {', '.join(parts)}"


def _report(asked: Namespace, work: Path) -> int:
    results = {r["row"]: r for r in _results(work / asked.results) if r["settings"] == _settings(asked)}
    print(f"# Training, side by side\n\n{asked.batch} rows of {asked.tokens} tokens, {asked.threads} threads, "
          f"{asked.device}; {asked.rounds} rounds in turns.\n")  # fmt: skip
    print("| row | system | parameters | tokens/s, median (best) | tokens per CPU second | peak, MiB "
          "| weft ÷ it: tokens/s | per CPU second | peak memory |\n|---|---|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    late = []
    for name, result in results.items():
        systems = result["systems"]
        tokens = asked.batch * asked.tokens
        for system, values in systems.items():
            print(report_row(name, system, values, systems.get("weft"), tokens))
        late += behind(name, systems)
    print("\n" + ("Weft is behind in: " + "; ".join(late) if late else "Weft is behind in no row."))
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
