"""Choosing the next token from logits: the same logits and seed give the same token, on every engine.

Settings act in the order in which `transformers` applies them: repetition penalty, temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lang import errors
from ..lang.diagnostics import WeftError
from .random import uniform

Array = NDArray[Any]


@dataclass(frozen=True)
class Sampling:
    """How to choose. `temperature` 0 is greedy: the largest logit, the lowest id of equal ones.

    `top_k` keeps the k most likely tokens, `top_p` the fewest whose probabilities sum to p (Holtzman et al. 2020),
    `min_p` those with at least that share of the likeliest one's probability (Nguyen et al. 2024), each of what the one
    before left. `repetition_penalty` r divides positive logits of tokens that the text already holds by r and
    multiplies negative ones (Keskar et al. 2019, the signs as in `transformers`); the prompt is part of the text.
    WeftError (E0949) for values out of range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise WeftError(errors.bad_sampling("temperature", self.temperature, "at least 0"))
        if self.top_k is not None and self.top_k < 1:
            raise WeftError(errors.bad_sampling("top_k", self.top_k, "at least 1"))
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise WeftError(errors.bad_sampling("top_p", self.top_p, "above 0 and at most 1"))
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise WeftError(errors.bad_sampling("min_p", self.min_p, "at least 0 and at most 1"))
        if not 0 < self.repetition_penalty < float("inf"):
            raise WeftError(errors.bad_sampling("repetition_penalty", self.repetition_penalty, "above 0"))

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


GREEDY = Sampling()
COLDEST = 1e-30
"""Temperatures below this one are all the same: anything but the largest logit has no chance."""


@dataclass(frozen=True, eq=False)
class Chances:
    """The tokens that may come next and how likely each is: `ids` [n] in ascending order, `chances` [n] sum to 1."""

    ids: Array
    chances: Array

    def at(self, point: float) -> int:
        """The token at a point from 0 to below 1 of the chances laid end to end."""
        sums = np.cumsum(self.chances)
        place = min(int(np.searchsorted(sums, point * sums[-1], side="right")), len(sums) - 1)
        while not self.chances[place]:  # a point that is nearly 1 may be rounded to the end, past all that can come
            place -= 1
        return int(self.ids[place])

    def of(self, token: int) -> float:
        """How likely a token is."""
        place = int(np.searchsorted(self.ids, token))
        return float(self.chances[place]) if place < len(self.ids) and self.ids[place] == token else 0.0

    def dense(self, vocabulary: int) -> Array:
        """One chance per token [V]."""
        found = np.zeros(vocabulary)
        found[self.ids] = self.chances
        return found


def choose(logits: Array, sampling: Sampling, number: int, seen: Collection[int] = ()) -> int:
    """The token that draw `number` of a text picks from logits [V], after a text that holds the tokens `seen`."""
    if sampling.greedy:
        return int(np.argmax(penalised(logits, sampling, seen)))
    return chances(logits, sampling, seen).at(uniform(sampling.seed, number))


def chances(logits: Array, sampling: Sampling, seen: Collection[int] = ()) -> Chances:
    """What may be drawn from logits [V], after a text that holds the tokens `seen`."""
    values = penalised(logits, sampling, seen)
    if sampling.greedy:
        return Chances(np.array([np.argmax(values)]), np.ones(1))
    ids = np.arange(len(values)) if sampling.top_k is None else _largest(values, sampling.top_k)
    # In the precision of the logits, which is that of their errors; sums are exact enough for any vocabulary.
    scaled = (values if sampling.top_k is None else values[ids]).astype(np.result_type(values, np.float32))
    scaled -= scaled.max()
    scaled /= max(sampling.temperature, COLDEST)
    found = np.exp(scaled, out=scaled).astype(np.float64)
    if sampling.top_p is not None:
        keep = _nucleus(found, sampling.top_p)
        ids, found = ids[keep], found[keep]
    if sampling.min_p is not None:
        keep = np.flatnonzero(found >= sampling.min_p * found.max())
        ids, found = ids[keep], found[keep]
    return Chances(ids, found / found.sum())


def penalised(values: Array, sampling: Sampling, seen: Collection[int]) -> Array:
    """Logits or log-probabilities [V] after the repetition penalty."""
    if sampling.repetition_penalty == 1 or not seen:
        return values
    places = np.fromiter(seen, np.int64, len(seen))
    changed = values.astype(np.float64)
    old = changed[places]
    changed[places] = np.where(old < 0, old * sampling.repetition_penalty, old / sampling.repetition_penalty)
    return changed


def log_chances(logits: Array) -> Array:
    """Log-probabilities [.., V] of logits [.., V], in float64."""
    values = logits.astype(np.float64)
    values -= values.max(-1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(-1, keepdims=True)))


def likeliest(values: Array, count: int) -> Array:
    """The places of the largest of values [n], largest first, the lowest of equal ones first."""
    places = _largest(values, count)
    return places[np.argsort(-values[places], kind="stable")]


def _largest(values: Array, count: int) -> Array:
    """The places of the largest values in ascending order; of equal ones at the edge the lowest."""
    if count >= len(values):
        return np.arange(len(values))
    edge = np.partition(values, -count)[-count]
    above = np.flatnonzero(values > edge)
    level = np.flatnonzero(values == edge)[: count - len(above)]
    return np.sort(np.concatenate([above, level]))


def _nucleus(found: Array, share: float) -> Array:
    """The places, in ascending order, of the fewest weights [n] that sum to a share of all."""
    total = found.sum()
    # All weights up to (1 - share) / n together are too few to be missed: only the others need sorting.
    few = np.flatnonzero(found > (1 - share) / len(found) * total)
    order = few[np.argsort(-found[few], kind="stable")]
    kept = int(np.searchsorted(np.cumsum(found[order]) / total, share)) + 1
    return np.sort(order[:kept])
