"""One row of tokens through an export, timed: a prompt, then one token after another."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..export_folder import session_options
from ..session import Array, Session, States
from .profile import Recorded

_SPECIAL = 4  # the first numbers of most vocabularies are special tokens, which nobody reads in a row
_SEED = 1


@dataclass(frozen=True)
class Job:
    """What to run: an export, the tokens of a prompt, those to write after it. `profile` begins the names of profiles.

    `providers` are those of ONNX Runtime; None leaves the choice to the session.
    """

    folder: str
    prompt: int
    tokens: int
    threads: int
    providers: tuple[str, ...] | None = None
    profile: str | None = None


class Profiled(Session):
    """A session whose models all write a profile."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._running: list[tuple[str, onnxruntime.InferenceSession, int]] = []
        super().__init__(job.folder, threads=job.threads, providers=job.providers)

    def _opened(self, file: str) -> onnxruntime.InferenceSession:
        options = session_options(self.manifest, self._job.threads)
        options.enable_profiling = True
        options.profile_file_prefix = f"{self._job.profile}-{Path(file).stem}"
        before = time.time_ns(), time.perf_counter_ns()
        session = onnxruntime.InferenceSession(str(self.folder / file), options, providers=self._providers)
        self._running.append((file, session, _began(session.get_profiling_start_time_ns(), before)))
        return session

    def end(self) -> list[Recorded]:
        """Ends the profiles, and says where they are."""
        return [Recorded(file, Path(session.end_profiling()), began) for file, session, began in self._running]


def _began(started: int, before: tuple[int, int]) -> int:
    """The start of a profile by `time.time_ns`: its clock is that one, or the one of `perf_counter`, by platform."""
    wall, steady = before
    return started if abs(started - wall) < abs(started - steady) else started + wall - steady


class Runner:
    """Runs the job's prompt and tokens; the next token is always the likeliest, as greedy decoding has it."""

    def __init__(self, job: Job) -> None:
        began = time.perf_counter()
        providers = job.providers
        self.session = (
            Profiled(job) if job.profile else Session(job.folder, threads=job.threads, providers=providers)
        )
        self.seconds = time.perf_counter() - began
        self._job = job
        numbers = np.random.default_rng(_SEED).integers(0, 1 << 30, job.prompt)
        span = max(1, (self.session.vocabulary or 2 * _SPECIAL) - _SPECIAL)
        self._prompt = (_SPECIAL + numbers % span)[None].astype(np.int64)
        self._states: States = {}
        self._read = 0
        self._next = self._prompt[:, :1]

    @property
    def writes(self) -> bool:
        """Whether it can go on token by token; an encoder reads whole texts alone."""
        return self.session.has_steps

    def prefill(self) -> float:
        """Seconds for a prompt, from nothing to the token after it."""
        self._states, self._read = {}, 0  # the old caches go before new ones come
        began = time.perf_counter()
        if self.session.has_encoder:
            begin = self.session.manifest["metadata"].get("begin", [0])
            self._states = self.session.start(1, self._prompt)
            self._step(np.array([begin], np.int64))
        else:
            self._states = self.session.start()
            self._step(self._prompt)
        return time.perf_counter() - began

    def decode(self) -> float:
        """Seconds for the tokens after it."""
        began = time.perf_counter()
        for _ in range(self._job.tokens):
            self._step(self._next)
        return time.perf_counter() - began

    def _step(self, tokens: Array) -> None:
        self._read += tokens.shape[1]
        mask = np.ones((1, self._read), np.int64)
        logits, self._states = self.session.step(tokens, self._states, mask, scores=1)
        self._next = _likeliest(logits)


def _likeliest(logits: Array) -> Array:
    """The token [1, 1] after a step; a model that gives no scores of tokens has no next one."""
    last: Any = logits.reshape(-1, logits.shape[-1])[-1]
    return np.array([[int(last.argmax())]], np.int64)

