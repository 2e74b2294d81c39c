"""When a result counts as equal: its error against float64, relative to the error that its precision must make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .emit.reference import Noise, run
from .ir.module import Module
from .ir.primitive import Array

FLOAT32 = 2.0**-24
BFLOAT16 = 2.0**-9
RMS_LIMIT = 4.0
MAX_LIMIT = 8.0


class Scale(NamedTuple):
    """The error to expect of a precision: root mean square, and largest."""

    rms: float
    max: float

    def or_more(self, other: Scale) -> Scale:
        """The larger of both, one by one."""
        return Scale(max(self.rms, other.rms), max(self.max, other.max))


class Verdict(NamedTuple):
    """Errors as multiples of the expected ones: `accepted` within the limits, `close` beyond half of them."""

    rms_ratio: float
    max_ratio: float
    accepted: bool
    close: bool

    def __str__(self) -> str:
        word = "ok" if self.accepted and not self.close else "close" if self.accepted else "FAILED"
        return f"{word} (rms {self.rms_ratio:.2f} of {RMS_LIMIT:g}, max {self.max_ratio:.2f} of {MAX_LIMIT:g})"


def errors(candidate: Array, exact: Array) -> Scale:
    """Root mean square and largest absolute difference; infinite where the candidate is not finite."""
    if candidate.shape != exact.shape:
        raise ValueError(f"a result of shape {candidate.shape} is compared with one of shape {exact.shape}")
    if not exact.size:
        return Scale(0.0, 0.0)
    difference = np.abs(np.asarray(candidate, np.float64) - exact)
    difference = np.where(np.isfinite(difference), difference, np.inf)
    return Scale(float(np.sqrt(np.mean(difference**2))), float(difference.max()))


def judge(candidate: Array, exact: Array, scale_rms: float, scale_max: float) -> Verdict:
    """Accept when the rms error is at most 4 times, and the largest error at most 8 times, the expected one."""
    found = errors(candidate, exact)
    rms, largest = _ratio(found.rms, scale_rms), _ratio(found.max, scale_max)
    accepted = rms <= RMS_LIMIT and largest <= MAX_LIMIT
    return Verdict(rms, largest, accepted, rms > RMS_LIMIT / 2 or largest > MAX_LIMIT / 2)


def _ratio(error: float, scale: float) -> float:
    return 0.0 if error == 0 else error / scale if scale > 0 else np.inf


def scales(
    module: Module,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    ambient: Mapping[str, Array] | None = None,
    states: Mapping[str, Array] | None = None,
    unit: float = FLOAT32,
    runs: int = 3,
    seed: int = 0,
) -> tuple[Scale, ...]:
    """The expected errors of each output value in a precision, by Monte-Carlo arithmetic over a few runs."""
    exact = run(module, weights, inputs, ambient, states).values
    noises = (Noise(unit, np.random.default_rng((seed, i))) for i in range(runs))
    disturbed = [run(module, weights, inputs, ambient, states, noise).values for noise in noises]
    return tuple(_mean([errors(d[i], y) for d in disturbed]) for i, y in enumerate(exact))


def _mean(found: list[Scale]) -> Scale:
    squares = np.mean([[f.rms**2, f.max**2] for f in found], axis=0)
    return Scale(float(np.sqrt(squares[0])), float(np.sqrt(squares[1])))
