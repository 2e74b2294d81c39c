"""Chooses the x of every vertex: straight columns first, then as little sideways as the order of the rows allows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .layers import Layers, Segment

_ROUNDS = 200


@dataclass(frozen=True)
class Shape:
    """The width of a vertex, and where its operands and results attach, from its centre.

    `beside` is how far the text below it reaches to the right of its centre.
    """

    width: float
    inputs: tuple[float, ...] = (0.0,)
    outputs: tuple[float, ...] = (0.0,)
    beside: float = 0.0


def columns(layers: Layers, shapes: Mapping[int, Shape], gap: float, lane_gap: float) -> dict[int, float]:
    """The x of every vertex's centre.

    Segments that would look best straight (pieces of a lane, then links between a vertex's only or middle neighbours)
    tie their ends into one column. Then each column moves towards its neighbours, never past its row's order.
    """
    column, shift = _tie(layers, shapes)
    through = _through(layers, column, shift)
    distances = _distances(layers, shapes, *through, gap, lane_gap)
    x = _pack(distances, sorted(set(through[0].values())))
    if x is None:
        through = column, shift
        distances = _distances(layers, shapes, *through, gap, lane_gap)
        x = _pack(distances, sorted(set(column.values())))
    assert x is not None, "ties that do not cross leave an order"
    column, shift = through
    _relax(x, distances, _pulls(layers, shapes, column, shift))
    return {v: x[c] + shift[v] for v, c in column.items()}


def _tie(layers: Layers, shapes: Mapping[int, Shape]) -> tuple[dict[int, int], dict[int, float]]:
    """The column of every vertex, and its shift within it."""
    rank = {v: r for r, row in enumerate(layers.rows) for v in row}
    place = {v: i for row in layers.rows for i, v in enumerate(row)}
    above: dict[int, list[Segment]] = defaultdict(list)
    below: dict[int, list[Segment]] = defaultdict(list)
    for s in layers.segments:
        above[s.lower].append(s)
        below[s.upper].append(s)

    def worth(s: Segment) -> int:
        if layers.is_lane(s.upper) and layers.is_lane(s.lower):
            return 3
        short_above = [t for t in above[s.lower] if t.upper not in layers.bypasses] or above[s.lower]
        short_below = [t for t in below[s.upper] if t.lower not in layers.bypasses] or below[s.upper]
        if _middle(s, short_above, lambda t: (place[t.upper], t.upper_port)) and _middle(
            s, short_below, lambda t: (place[t.lower], t.lower_port)
        ):
            return 2
        return 1 if len(below[s.upper]) == 1 and len(above[s.lower]) == 1 else 0

    chosen: list[Segment] = []
    tied_above: set[int] = set()
    tied_below: set[int] = set()
    for s in sorted(layers.segments, key=lambda s: (-worth(s), rank[s.upper], place[s.upper], place[s.lower])):
        if worth(s) == 0 or s.lower in tied_above or s.upper in tied_below:
            continue
        if any(
            rank[c.upper] == rank[s.upper] and (place[c.upper] - place[s.upper]) * (place[c.lower] - place[s.lower]) < 0
            for c in chosen
        ):
            continue
        chosen.append(s)
        tied_above.add(s.lower)
        tied_below.add(s.upper)
    column, shift = {}, {}
    down = {s.upper: s for s in chosen}
    for row in layers.rows:
        for v in row:
            if v not in column:
                column[v], shift[v] = v, 0.0
            if v in down:
                s = down[v]
                column[s.lower] = column[v]
                shift[s.lower] = shift[v] + shapes[v].outputs[s.upper_port] - shapes[s.lower].inputs[s.lower_port]
    return column, shift


def _through(
    layers: Layers, column: dict[int, int], shift: dict[int, float]
) -> tuple[dict[int, int], dict[int, float]]:
    """The same columns, with the only input of a drawing right above its only output, so that boxes stand in line."""
    if len(layers.rows[0]) != 1 or len(layers.rows[-1]) != 1:
        return column, shift
    (first,), (last,) = layers.rows[0], layers.rows[-1]
    old, new, by = column[last], column[first], shift[first] - shift[last]
    moved = [v for v, c in column.items() if c == old]
    return column | dict.fromkeys(moved, new), shift | {v: shift[v] + by for v in moved}


def _middle(s: Segment, among: list[Segment], key: Callable[[Segment], tuple[int, int]]) -> bool:
    """Whether a segment is the middle one of an odd number."""
    ordered = sorted(among, key=key)
    return len(ordered) % 2 == 1 and ordered[len(ordered) // 2] is s


def _distances(
    layers: Layers,
    shapes: Mapping[int, Shape],
    column: dict[int, int],
    shift: dict[int, float],
    gap: float,
    lane_gap: float,
) -> dict[tuple[int, int], float]:
    """How far column b must be right of column a, for neighbours in some row."""
    distances: dict[tuple[int, int], float] = {}
    for row in layers.rows:
        for a, b in pairwise(row):
            space = lane_gap if layers.is_lane(a) or layers.is_lane(b) else gap
            right = max(shapes[a].width / 2 + space, shapes[a].beside + (6.0 if layers.is_lane(b) else 0.0))
            apart = right + shapes[b].width / 2 + shift[a] - shift[b]
            pair = (column[a], column[b])
            distances[pair] = max(distances.get(pair, apart), apart)
    return distances


def _pulls(
    layers: Layers, shapes: Mapping[int, Shape], column: dict[int, int], shift: dict[int, float]
) -> dict[int, list[tuple[int, float, float]]]:
    """For each column: (other column, where this one would be straight below it, weight)."""
    pulls: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for s in layers.segments:
        a, b = column[s.upper], column[s.lower]
        if a == b:
            continue
        offset = (
            shift[s.upper]
            + shapes[s.upper].outputs[s.upper_port]
            - shift[s.lower]
            - shapes[s.lower].inputs[s.lower_port]
        )
        weight = 0.1 if s.upper in layers.bypasses or s.lower in layers.bypasses else 1.0
        pulls[b].append((a, offset, weight))
        pulls[a].append((b, -offset, weight))
    return pulls


def _pack(distances: dict[tuple[int, int], float], names: Sequence[int]) -> dict[int, float] | None:
    """Every column as far left as the distances allow; None when they contradict each other."""
    x = dict.fromkeys(names, 0.0)
    for _ in range(len(names) + 1):
        moved = False
        for (a, b), apart in distances.items():
            if x[b] < x[a] + apart - 1e-9:
                x[b], moved = x[a] + apart, True
        if not moved:
            return x
    return None


def _relax(
    x: dict[int, float], distances: dict[tuple[int, int], float], pulls: dict[int, list[tuple[int, float, float]]]
) -> None:
    """Move each column to the weighted mean of what pulls it, as far as its neighbours let it."""
    left: dict[int, list[tuple[int, float]]] = defaultdict(list)
    right: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (a, b), apart in distances.items():
        left[b].append((a, apart))
        right[a].append((b, apart))
    order = sorted(x, key=lambda c: (x[c], c))
    for turn in range(_ROUNDS):
        most = 0.0
        for c in order if turn % 2 else reversed(order):
            if not pulls[c]:
                continue
            total = sum(w for _, _, w in pulls[c])
            wanted = sum((x[o] + offset) * w for o, offset, w in pulls[c]) / total
            wanted = max([wanted, *(x[a] + d for a, d in left[c])]) if left[c] else wanted
            wanted = min([wanted, *(x[b] - d for b, d in right[c])]) if right[c] else wanted
            most = max(most, abs(wanted - x[c]))
            x[c] = wanted
        if most < 0.01:
            break
