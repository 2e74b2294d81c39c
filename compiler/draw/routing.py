"""Finds the y of every vertex and the lines between them: down, sideways on a track of their own, down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from .columns import Shape
from .layers import Layers, Segment

Point = tuple[float, float]

_TRACK, _ABOVE, _BELOW = 8.0, 5.0, 18.0
LABEL = 14.0
_TALL = 60.0  # what stands beside something taller is in line with its upper part
_STRAIGHT = 0.5  # pixels sideways that are drawn as none
_MOST_ORDERED = 5  # so many tracks of one gap are tried in every order


@dataclass(frozen=True)
class Route:
    """A line through `points`, from a vertex to a vertex of the next row."""

    segment: Segment
    points: tuple[Point, ...]
    arrow: bool


@dataclass(frozen=True)
class Lines:
    """The y of every vertex's upper edge, the height of all rows, the lines, and where they branch."""

    tops: Mapping[int, float]
    height: float
    routes: tuple[Route, ...]
    junctions: tuple[Point, ...]


@dataclass(frozen=True)
class _Bundle:
    """The segments that leave one result in one gap: they share a track."""

    x: float
    sideways: tuple[float, ...]
    down: bool

    @property
    def low(self) -> float:
        return min(self.x, *self.sideways)

    @property
    def high(self) -> float:
        return max(self.x, *self.sideways)


def route(
    layers: Layers,
    shapes: Mapping[int, Shape],
    heights: Mapping[int, float],
    x: Mapping[int, float],
    labelled: frozenset[int],
    round: frozenset[int],
    silent: frozenset[int],
) -> Lines:
    """Lines for all segments.

    `labelled` vertices have a line of text below them. `round` ones are operators: a line from the side may enter
    there from the side. Lines to `silent` vertices (the edge of a drawing) have no arrowhead.
    """
    into: dict[int, dict[Segment, str]] = defaultdict(dict)
    row_of = {v: r for r, row in enumerate(layers.rows) for v in row}
    for s in layers.segments:
        if s.lower in round:
            side = _side(s, layers.rows[row_of[s.lower]], shapes, x)
            if side and side not in into[s.lower].values():
                into[s.lower][s] = side
    gaps: dict[int, dict[tuple[int, int], list[Segment]]] = defaultdict(lambda: defaultdict(list))
    for s in layers.segments:
        gaps[row_of[s.upper]][(s.upper, s.upper_port)].append(s)

    tops: dict[int, float] = {}
    bottoms: list[float] = []
    tracks: dict[tuple[int, int], float] = {}
    junctions: list[Point] = []
    y = 0.0
    for r, row in enumerate(layers.rows):
        height = max((heights[v] for v in row), default=0.0)
        middle = min(height, _TALL) / 2
        tops |= {v: y + max(0.0, middle - heights[v] / 2) for v in row}
        y += height
        bottoms.append(y)
        if r == len(layers.rows) - 1:
            break
        bundles = {key: _bundle(segments, shapes, x, into) for key, segments in gaps[r].items()}
        levels = _levels({key: b for key, b in bundles.items() if b.sideways})
        y += _ABOVE + (LABEL if any(v in labelled for v in row) else 0.0)
        for key, level in levels.items():
            tracks[key] = y + _TRACK * level
            junctions += _branches(bundles[key], tracks[key])
        y += _TRACK * max(levels.values(), default=0.0) + _BELOW
    routes = []
    for s in layers.segments:
        start = bottoms[row_of[s.upper]] if layers.is_lane(s.upper) else tops[s.upper] + heights[s.upper]
        end = bottoms[row_of[s.lower]] if layers.is_lane(s.lower) else tops[s.lower]
        a, b = _out(s, shapes, x), _in(s, shapes, x)
        if s in into[s.lower]:
            middle = tops[s.lower] + heights[s.lower] / 2
            edge = b + shapes[s.lower].width / 2 * (1 if into[s.lower][s] == "right" else -1)
            points: tuple[Point, ...] = ((a, start), (a, middle), (edge, middle))
        elif abs(a - b) < _STRAIGHT:
            points = ((b, start), (b, end))
        else:
            track = tracks[(s.upper, s.upper_port)]
            points = ((a, start), (a, track), (b, track), (b, end))
        routes.append(Route(s, points, not (layers.is_lane(s.lower) or s.lower in silent)))
    return Lines(tops, y, tuple(routes), tuple(junctions))


def _out(s: Segment, shapes: Mapping[int, Shape], x: Mapping[int, float]) -> float:
    return x[s.upper] + shapes[s.upper].outputs[s.upper_port]


def _in(s: Segment, shapes: Mapping[int, Shape], x: Mapping[int, float]) -> float:
    return x[s.lower] + shapes[s.lower].inputs[s.lower_port]


def _side(s: Segment, row: Sequence[int], shapes: Mapping[int, Shape], x: Mapping[int, float]) -> str:
    """The side on which a line can enter an operator: nothing of its row may stand in the way."""
    here, there = _out(s, shapes, x), x[s.lower]
    if abs(here - there) < shapes[s.lower].width / 2 + 8:
        return ""
    low, high = min(here, there) - 6, max(here, there) + 6
    others = (v for v in row if v != s.lower)
    if any(x[v] + shapes[v].width / 2 > low and x[v] - shapes[v].width / 2 < high for v in others):
        return ""
    return "left" if here < there else "right"


def _bundle(
    segments: Sequence[Segment],
    shapes: Mapping[int, Shape],
    x: Mapping[int, float],
    into: Mapping[int, Mapping[Segment, str]],
) -> _Bundle:
    here = _out(segments[0], shapes, x)
    ends = [(here if s in into.get(s.lower, {}) else _in(s, shapes, x)) for s in segments]
    sideways = tuple(sorted({end for end in ends if abs(end - here) >= _STRAIGHT}))
    return _Bundle(here, sideways, any(abs(end - here) < _STRAIGHT for end in ends))


def _levels(bundles: Mapping[tuple[int, int], _Bundle]) -> dict[tuple[int, int], int]:
    """A track for each bundle: those that overlap get different ones, in the order that crosses least."""
    keys = sorted(bundles, key=lambda k: (bundles[k].x, k))
    if len(keys) <= _MOST_ORDERED:
        keys = list(min(permutations(keys), key=lambda order: _crossed([bundles[k] for k in order])))
    levels: dict[tuple[int, int], int] = {}
    for key in keys:
        b = bundles[key]
        near = [n for k, n in levels.items() if bundles[k].low < b.high + 8 and bundles[k].high > b.low - 8]
        levels[key] = max(near, default=0) + 1
    return levels


def _crossed(order: Sequence[_Bundle]) -> int:
    """Crossings when bundles have tracks in this order, from above."""
    total = 0
    for i, upper in enumerate(order):
        for lower in order[i + 1 :]:
            total += upper.low < lower.x < upper.high
            ends = (*upper.sideways, upper.x) if upper.down else upper.sideways
            total += sum(lower.low < end < lower.high for end in ends)
    return total


def _branches(bundle: _Bundle, y: float) -> list[Point]:
    """Where a line becomes several."""
    found = []
    left, right = bundle.low < bundle.x, bundle.high > bundle.x
    if left + right + bundle.down >= 2:
        found.append((bundle.x, y))
    found += [(end, y) for end in bundle.sideways if bundle.low < end < bundle.high]
    return found
