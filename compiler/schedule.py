"""Folds the schedule of a repeat: equal layers into runs, runs that come back into a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Run:
    """`count` times the same: one body, or a pattern of runs. `first` is the number of its first layer."""

    count: int
    first: int
    body: int | None = None
    pattern: tuple[Run, ...] = ()

    @property
    def layers(self) -> int:
        """How many layers it covers."""
        return self.count * (sum(run.layers for run in self.pattern) if self.pattern else 1)

    @property
    def name(self) -> str:
        """`layer 3` or `layers 3-30`."""
        last = self.first + self.layers - 1
        return f"layer {self.first}" if last == self.first else f"layers {self.first}–{last}"


_LONGEST_PATTERN = 32


def fold(schedule: tuple[int, ...]) -> tuple[Run, ...]:
    """The runs of a schedule, in order.

    `0 1 1 1` is layer 0 and three times body 1; `0 0 1 0 0 1 0 0` is twice (twice body 0, body 1) and twice body 0.
    """
    runs: list[Run] = []
    at = 0
    for body, group in groupby(schedule):
        length = len(list(group))
        runs.append(Run(length, at, body))
        at += length
    folded: list[Run] = []
    i = 0
    while i < len(runs):
        period, times = _best_pattern(runs, i)
        folded.append(runs[i] if times == 1 else Run(times, runs[i].first, pattern=tuple(runs[i : i + period])))
        i += period * times
    return tuple(folded)


def _best_pattern(runs: list[Run], start: int) -> tuple[int, int]:
    """The period and the number of repetitions, from run `start` on, that cover the most runs."""
    shapes = [(run.count, run.body) for run in runs[start:]]
    best = (1, 1)
    for period in range(2, min(len(shapes) // 2, _LONGEST_PATTERN) + 1):
        times = 1
        while shapes[times * period : (times + 1) * period] == shapes[:period]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best
