"""The process that runs a model and does nothing else, so that its memory is that of the model.

It gets a job as JSON, answers each line `round` with the seconds of a prompt and of the tokens after it, and the line
`end` with its memory (and profiles). Each answer is one line of JSON; the first one comes when the model is loaded and
has read a first prompt.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from .measure import Job, Profiled, Runner
from .memory import Memory


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    base = Memory.now()
    runner = Runner(job)
    loaded = Memory.now()
    _answer({
        "base": asdict(base),
        "load": runner.seconds,
        "loaded": asdict(loaded),
        "device": runner.session.device,
        "writes": runner.writes,
        "first": runner.prefill(),
        "warm": runner.decode() if runner.writes else None,
    })
    for line in sys.stdin:
        if line.strip() == "end":
            break
        began = time.time_ns()
        prefill = runner.prefill()
        between = time.time_ns()
        decode = runner.decode() if runner.writes else None
        _answer({"prefill": prefill, "decode": decode, "moments": (began, between, time.time_ns())})
    profiles = runner.session.end() if isinstance(runner.session, Profiled) else []
    _answer({
        "memory": asdict(Memory.now()),
        "profiles": [{"model": p.model, "path": str(p.path), "began": p.began} for p in profiles],
    })


def _answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
