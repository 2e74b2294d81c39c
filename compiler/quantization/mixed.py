"""Mixed precision: each matrix gets the format that lowers the error most for its bytes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from ...lang import errors
from ...lang.diagnostics import WeftError

Choice = TypeVar("Choice", bound=Hashable)


@dataclass(frozen=True)
class Cost:
    """What one format of one matrix costs: stored bytes, and an error that adds up over matrices (a square, a loss)."""

    bytes: int
    error: float


def mixed(costs: Mapping[str, Mapping[Choice, Cost]], budget: int) -> dict[str, Choice]:
    """A format for every matrix, with at most `budget` bytes together and a small sum of errors.

    Each matrix starts with its smallest format and climbs along the lower convex hull of (bytes, error), always the
    step that takes most error away per byte: the best choice of all when the budget ends with a step, and otherwise
    worse than it by less than one step. What is left of the budget then goes into single changes that lower the error.
    Raises WeftError when even the smallest formats do not fit.
    """
    hulls = {name: _hull(options) for name, options in costs.items()}
    chosen = {name: hull[0] for name, hull in hulls.items()}
    left = budget - sum(costs[name][choice].bytes for name, choice in chosen.items())
    if left < 0:
        raise WeftError(errors.budget_too_small(budget, budget - left))
    steps = [
        (_gain(costs[name][a], costs[name][b]), name, a, b)
        for name, hull in hulls.items()
        for a, b in pairwise(hull)
    ]
    for _, name, a, b in sorted(steps, key=lambda step: -step[0]):
        extra = costs[name][b].bytes - costs[name][a].bytes
        if chosen[name] == a and extra <= left:
            chosen[name] = b
            left -= extra
    return _improved(costs, chosen, left)


def _hull(options: Mapping[Choice, Cost]) -> list[Choice]:
    """The formats on the lower convex hull, from the smallest on, as long as the error falls."""
    hull: list[Choice] = []
    for choice, cost in sorted(options.items(), key=lambda item: (item[1].bytes, item[1].error)):
        if hull and cost.error >= options[hull[-1]].error:
            continue
        while len(hull) > 1 and _gain(options[hull[-1]], cost) >= _gain(options[hull[-2]], options[hull[-1]]):
            hull.pop()
        hull.append(choice)
    return hull


def _gain(smaller: Cost, larger: Cost) -> float:
    """Error taken away per byte."""
    return (smaller.error - larger.error) / max(larger.bytes - smaller.bytes, 1)


def _improved(
    costs: Mapping[str, Mapping[Choice, Cost]], chosen: Mapping[str, Choice], left: int
) -> dict[str, Choice]:
    """With single changes that fit and lower the error, the best first, until there is none."""
    chosen = dict(chosen)
    while True:
        changes = [
            (costs[name][now].error - cost.error, cost.bytes - costs[name][now].bytes, name, choice)
            for name, now in chosen.items()
            for choice, cost in costs[name].items()
            if cost.error < costs[name][now].error and cost.bytes - costs[name][now].bytes <= left
        ]
        if not changes:
            return chosen
        _, extra, name, choice = max(changes, key=lambda change: change[0])
        chosen[name] = choice
        left -= extra
