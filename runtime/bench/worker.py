"""A process that runs a job, seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from tempfile import TemporaryFile
from typing import IO, Any

from ...lang import errors
from ...lang.diagnostics import WeftError
from .measure import Job

_MODULE = f"{__package__}.process"
_LAST = 2000  # characters of what it said when it failed


class Worker:
    """A running process; see `process` for what it answers. Raises WeftError (E0961) when it ends before its time."""

    def __init__(self, process: subprocess.Popen[str], said: IO[bytes]) -> None:
        self._process, self._said = process, said

    def answer(self, line: str = "") -> Any:
        """Says a line, if there is one, and waits for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            if line:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise WeftError(errors.bench_failed(self._process.wait(), self._words()))
        return json.loads(answer)

    def _words(self) -> str:
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace")[-_LAST:]


@contextmanager
def working(job: Job) -> Iterator[Worker]:
    """A process that runs a job, ended in the end."""
    with TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, json.dumps(asdict(job))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8",
        )  # fmt: skip
        try:
            with process:
                yield Worker(process, said)
        finally:
            process.kill()

