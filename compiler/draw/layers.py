"""Puts the vertices of one drawing into rows, top-down, and orders each row so that few lines cross.

The method is that of Sugiyama, Tagawa and Toda (1981): ranks by the longest path, lanes for links that span several
rows, then sweeps of the barycentre rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

# (vertex, result number) -> (vertex, operand number)
Wire = tuple[int, int, int, int]

_SWEEPS = 12
_LARGE = 600  # beyond so many vertices the order of the spec is kept: no person reads such a picture anyway


@dataclass(frozen=True)
class Segment:
    """A piece of a link between neighbouring rows."""

    upper: int
    upper_port: int
    lower: int
    lower_port: int


@dataclass(frozen=True)
class Layers:
    """Rows of vertices in their order. Vertices from `lanes` on are not items: links pass through them.

    `bypasses` are the lanes of links whose ends are also joined the long way round, as a residual's are.
    """

    rows: tuple[tuple[int, ...], ...]
    segments: tuple[Segment, ...]
    lanes: int
    bypasses: frozenset[int]

    def is_lane(self, vertex: int) -> bool:
        return vertex >= self.lanes


def arrange(
    count: int, first: Sequence[int], last: Sequence[int], late: frozenset[int], wires: Sequence[Wire]
) -> Layers:
    """Rows for vertices 0 .. count-1 and the lanes between them.

    `first` and `last` are the vertices of the upper and the lower edge, in their order. Vertices in `late`, and those
    that nothing enters, stand right above the first one that they feed.
    """
    ranks = _ranks(count, frozenset(first), frozenset(last), late, wires)
    rows: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for vertex, rank in enumerate(ranks):
        rows[rank].append(vertex)
    segments, bypasses = _segments(count, ranks, wires, rows)
    ordered = _initial(rows, segments, first, last)
    if sum(map(len, ordered)) <= _LARGE:
        ordered = _fewest_crossings(ordered, segments, len(ordered) - bool(last))
    return Layers(tuple(map(tuple, ordered)), tuple(segments), count, bypasses)


def _ranks(
    count: int, first: frozenset[int], last: frozenset[int], late: frozenset[int], wires: Sequence[Wire]
) -> list[int]:
    """Row numbers by the longest path. Every wire goes from a lower vertex number to a higher one."""
    ranks = [0 if v in first else 1 for v in range(count)]
    inner = [v for v in range(count) if v not in first and v not in last]
    above, below = defaultdict(list), defaultdict(list)
    for upper, _, lower, _ in wires:
        above[lower].append(upper)
        below[upper].append(lower)
    for vertex in inner:
        ranks[vertex] = max([1, *(ranks[u] + 1 for u in above[vertex])])
    bottom = max([0, *(ranks[v] for v in inner)]) + 1
    for vertex in last:
        ranks[vertex] = bottom
    for vertex in reversed(inner):
        if (vertex in late or not above[vertex]) and below[vertex]:
            ranks[vertex] = min(ranks[v] for v in below[vertex]) - 1
    return ranks


def _segments(
    count: int, ranks: list[int], wires: Sequence[Wire], rows: list[list[int]]
) -> tuple[list[Segment], frozenset[int]]:
    """Every wire cut at the rows it passes; wires from the same result share their lane. Lanes join the rows."""
    lanes: dict[tuple[int, int, int], int] = {}
    found: dict[Segment, None] = {}
    bypasses: set[int] = set()
    below: dict[int, list[int]] = defaultdict(list)
    for upper, _, lower, _ in wires:
        below[upper].append(lower)
    reached = _reached(count, wires if count <= _LARGE else ())
    for upper, port, lower, operand in wires:
        long_way = any(lower in reached[v] for v in below[upper])
        here, here_port = upper, port
        for rank in range(ranks[upper] + 1, ranks[lower]):
            lane = lanes.setdefault((upper, port, rank), count + len(lanes))
            if lane not in rows[rank]:
                rows[rank].append(lane)
            if long_way:
                bypasses.add(lane)
            found[Segment(here, here_port, lane, 0)] = None
            here, here_port = lane, 0
        found[Segment(here, here_port, lower, operand)] = None
    return list(found), frozenset(bypasses)


def _reached(count: int, wires: Sequence[Wire]) -> list[set[int]]:
    """What each vertex leads to. Wires of one vertex come after those of all that lead to it."""
    reached: list[set[int]] = [set() for _ in range(count)]
    for upper, _, lower, _ in sorted(wires, key=lambda w: -w[2]):
        reached[upper] |= {lower} | reached[lower]
    return reached


def _initial(
    rows: list[list[int]], segments: list[Segment], first: Sequence[int], last: Sequence[int]
) -> list[list[int]]:
    """The order in which a walk up from the outputs, operand by operand, meets the vertices."""
    above: dict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        above[segment.lower].append(segment)
    met: dict[int, None] = {}
    waiting = [v for row in rows for v in reversed(row)] + list(reversed(last))
    while waiting:
        vertex = waiting.pop()
        if vertex in met:
            continue
        met[vertex] = None
        waiting += [s.upper for s in sorted(above[vertex], key=lambda s: -s.lower_port)]
    place = {vertex: i for i, vertex in enumerate(met)}
    place |= {vertex: i for i, vertex in enumerate(first)} | {vertex: i for i, vertex in enumerate(last)}
    return [sorted(row, key=lambda v: place[v]) for row in rows]


def _fewest_crossings(rows: list[list[int]], segments: list[Segment], end: int) -> list[list[int]]:
    """The best order found by sweeping the barycentre rule down and up; the given order wins ties.

    The first row keeps its order, and so do those from `end` on.
    """
    above: dict[int, list[Segment]] = defaultdict(list)
    below: dict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        above[segment.lower].append(segment)
        below[segment.upper].append(segment)
    best, fewest = [list(row) for row in rows], crossings(rows, segments)
    rows = [list(row) for row in rows]
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        places = {v: float(i) for row in rows for i, v in enumerate(row)}
        for row in rows[1:end] if down else rows[end - 1 : 0 : -1]:
            wanted = {}
            for vertex in row:
                near = (
                    [places[s.upper] + s.upper_port / 16 for s in above[vertex]]
                    if down
                    else [places[s.lower] + s.lower_port / 16 for s in below[vertex]]
                )
                wanted[vertex] = sum(near) / len(near) if near else places[vertex]
            row.sort(key=lambda v: wanted[v])
            places |= {v: float(i) for i, v in enumerate(row)}
        _swap_neighbours(rows, segments, end)
        now = crossings(rows, segments)
        if now < fewest:
            best, fewest = [list(row) for row in rows], now
    return best


def _swap_neighbours(rows: list[list[int]], segments: list[Segment], end: int) -> None:
    """Swap neighbours within a row while that lets fewer lines cross."""
    near: dict[int, tuple[list[Segment], list[Segment]]] = defaultdict(lambda: ([], []))
    for segment in segments:
        near[segment.lower][0].append(segment)
        near[segment.upper][1].append(segment)
    places = {v: i for row in rows for i, v in enumerate(row)}
    for row in rows[1:end]:
        for i in range(len(row) - 1):
            left, right = row[i], row[i + 1]
            if _inversions(near[left], near[right], places) > _inversions(near[right], near[left], places):
                row[i], row[i + 1] = right, left
                places[left], places[right] = i + 1, i


def _inversions(
    left: tuple[list[Segment], list[Segment]], right: tuple[list[Segment], list[Segment]], places: dict[int, int]
) -> int:
    up = sum((places[a.upper], a.upper_port) > (places[b.upper], b.upper_port) for a in left[0] for b in right[0])
    down = sum((places[a.lower], a.lower_port) > (places[b.lower], b.lower_port) for a in left[1] for b in right[1])
    return up + down


def crossings(rows: Sequence[Sequence[int]], segments: Sequence[Segment]) -> int:
    """How many pairs of segments cross."""
    rank = {v: r for r, row in enumerate(rows) for v in row}
    place = {v: i for row in rows for i, v in enumerate(row)}
    gaps: dict[int, list[tuple[tuple[int, int], tuple[int, int]]]] = defaultdict(list)
    for s in segments:
        gaps[rank[s.upper]].append(((place[s.upper], s.upper_port), (place[s.lower], s.lower_port)))
    total = 0
    for ends in gaps.values():
        ends.sort()
        for i, (upper, lower) in enumerate(ends):
            total += sum(1 for top, bottom in ends[i + 1 :] if top > upper and bottom < lower)
    return total
