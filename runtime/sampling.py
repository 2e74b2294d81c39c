"""Choosing the next token from logits: the same logits and seed give the same token, on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lang import errors
from ..lang.diagnostics import WeftError
from .random import uniform


@dataclass(frozen=True)
class Sampling:
    """How to choose. `temperature` 0 is greedy: the largest logit, the lowest id of equal ones.

    `top_k` keeps the k most likely tokens, `top_p` the fewest whose probabilities sum to p (Holtzman et al. 2020), both
    after the temperature. WeftError for values out of range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise WeftError(errors.bad_sampling("temperature", self.temperature, "at least 0"))
        if self.top_k is not None and self.top_k < 1:
            raise WeftError(errors.bad_sampling("top_k", self.top_k, "at least 1"))
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise WeftError(errors.bad_sampling("top_p", self.top_p, "above 0 and at most 1"))


GREEDY = Sampling()


def choose(logits: NDArray[Any], sampling: Sampling, number: int) -> int:
    """The token that draw `number` of a text picks from logits [V]."""
    values = logits.astype(np.float64)
    if sampling.temperature == 0:
        return int(np.argmax(values))
    order = np.argsort(-values, kind="stable")[: sampling.top_k]
    scaled = values[order] / sampling.temperature
    chances = np.exp(scaled - scaled[0])
    chances /= chances.sum()
    sums = np.cumsum(chances)
    if sampling.top_p is not None:
        kept = int(np.searchsorted(sums, sampling.top_p)) + 1
        order, sums = order[:kept], sums[:kept]
    point = uniform(sampling.seed, number) * sums[-1]
    return int(order[min(np.searchsorted(sums, point, side="right"), len(order) - 1)])
