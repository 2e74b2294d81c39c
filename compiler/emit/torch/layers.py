"""The layers of a repeat as one expression: how often, and which class for which layer."""

from __future__ import annotations

from collections.abc import Sequence

from .text import Blanks, marks, show, skeleton


def module_list(builds: Sequence[str], schedule: Sequence[int], count: str, blanks: Blanks) -> str:
    """`nn.ModuleList(..)` for layer i = `builds[schedule[i]]`; `count` is the number of layers as source.

    The text is as long for 126 layers as for 2 when the schedule is regular.
    """
    if len(builds) == 1:
        return f"nn.ModuleList({builds[0]} for _ in range({count}))"
    if len({skeleton(b) for b in builds}) == 1:
        return _with_arguments(builds, schedule, blanks)
    text = ""
    for kind in sorted(range(len(builds)), key=lambda k: (-schedule.count(k), k)):
        text = f"{builds[kind]} if {_condition(schedule, kind)} else {text}" if text else builds[kind]
    return f"nn.ModuleList({text} for i in range({count}))"


def _condition(schedule: Sequence[int], kind: int) -> str:
    """When layer i is of a kind."""
    layers = [i for i, k in enumerate(schedule) if k == kind]
    count = len(schedule)
    if len(layers) == 1:
        return f"i == {layers[0]}"
    if layers == list(range(layers[0], layers[0] + len(layers))):
        if layers[0] == 0:
            return f"i < {len(layers)}"
        if layers[-1] == count - 1:
            return f"i >= {layers[0]}"
        return f"{layers[0]} <= i < {layers[-1] + 1}"
    for period in range(2, count // 2 + 1):
        residues = sorted({i % period for i in layers})
        if len(residues) < period and layers == [i for i in range(count) if i % period in residues]:
            return f"i % {period} == {residues[0]}" if len(residues) == 1 else f"i % {period} in {tuple(residues)}"
    return f"i in {tuple(layers)}"


def _with_arguments(builds: Sequence[str], schedule: Sequence[int], blanks: Blanks) -> str:
    """Layers of one class that differ in numbers: a loop over these."""
    given = [[blanks.all[n] for n in marks(b)] for b in builds]
    differing = [j for j in range(len(given[0])) if len({g[j].value for g in given}) > 1]
    names = [given[0][j].name for j in differing]
    numbers = marks(builds[0])
    written = {numbers[j]: name for j, name in zip(differing, names, strict=True)}
    text = blanks.fill(builds[0], lambda n: written.get(n) or blanks.plain(n))
    rows = [tuple(given[k][j].value for j in differing) for k in schedule]
    shown = [show(r[0]) if len(r) == 1 else f"({', '.join(map(show, r))})" for r in rows]
    period = next(p for p in range(1, len(shown) + 1) if len(shown) % p == 0 and shown == shown[:p] * (len(shown) // p))
    values = f"({', '.join(shown[:period])}{',' if period == 1 else ''})"
    times = f" * {len(shown) // period}" if period < len(shown) else ""
    return f"nn.ModuleList({text} for {', '.join(names)} in {values}{times})"
