"""Gives every item of a drawing its place, from the innermost boxes outwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..quantities import axes
from .columns import Shape, columns
from .layers import Layers, arrange
from .picture import Drawing, Item, Kind, Link
from .routing import Point, route
from .text import width

TITLE, SMALL = 12.0, 9.5  # font sizes in pixels
HEADER = 24.0
PADDING = 14.0
_GAP, _LANE_GAP = 22.0, 14.0
_ASIDE = 6.0  # from a line to the text beside it
_PORT_GAP = 12.0
_LATE = (Kind.STATE, Kind.PENALTY)


@dataclass(frozen=True)
class Box:
    """An item with its place; x and y are its upper left corner in the drawing it is in."""

    item: Item
    x: float
    y: float
    width: float
    height: float
    inner: Placed | None = None


@dataclass(frozen=True)
class Line:
    """A piece of a link."""

    points: tuple[Point, ...]
    arrow: bool
    link: Link


@dataclass(frozen=True)
class Label:
    """The axes of a value, beside its line; x and y are where its text begins."""

    x: float
    y: float
    link: Link


@dataclass(frozen=True)
class Placed:
    """A drawing with places. `inputs` and `outputs` are the x at which values cross its upper and lower edge."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    junctions: tuple[Point, ...]
    inputs: tuple[float, ...]
    outputs: tuple[float, ...]


def layout(drawing: Drawing, least_width: float = 0.0) -> Placed:
    """Place a drawing and all that is inside of it."""
    inner = {item.key: layout(item.inner, header_width(item)) for item in drawing.items if item.inner}
    inputs, count = drawing.inputs, len(drawing.items)
    number = {item.key: inputs + i for i, item in enumerate(drawing.items)}
    first, last = range(inputs), range(inputs + count, inputs + count + drawing.outputs)

    wires: dict[tuple[int, int, int, int], Link] = {}
    for link in drawing.links:
        upper = (number[link.source.item], link.source.port) if link.source.item else (link.source.port, 0)
        lower = (number[link.target.item], link.target.port) if link.target.item else (last[link.target.port], 0)
        wires[(*upper, *lower)] = link
    late = frozenset(number[item.key] for item in drawing.items if item.kind in _LATE)
    layers = arrange(inputs + count + drawing.outputs, first, last, late, list(wires))

    shapes = {v: Shape(0.0) for row in layers.rows for v in row}
    heights = dict.fromkeys(shapes, 0.0)
    for item in drawing.items:
        heights[number[item.key]], shapes[number[item.key]] = _size(item, inner.get(item.key), drawing.links)
    labels = _labelled(drawing, number)
    for v, link in labels.items():
        shapes[v] = replace(shapes[v], beside=shapes[v].outputs[0] + _ASIDE + width(axes(link.type), SMALL))
    x = columns(layers, shapes, _GAP, _LANE_GAP)
    shapes = _straightened(layers, shapes, x, drawing, number)

    links = _links(layers, wires)
    round = frozenset(number[item.key] for item in drawing.items if item.kind is Kind.OPERATOR)
    lines = route(layers, shapes, heights, x, frozenset(labels), round, frozenset(last))

    left = min((x[v] - shapes[v].width / 2 for v in x), default=0.0)
    right = max((x[v] + max(shapes[v].width / 2, shapes[v].beside) for v in x), default=0.0)
    spare = max(0.0, least_width - (right - left) - 2 * PADDING)
    shift = PADDING + spare / 2 - left
    boxes = [
        Box(item, x[v] + shift - shapes[v].width / 2, lines.tops[v], shapes[v].width, heights[v], inner.get(item.key))
        for item, v in ((item, number[item.key]) for item in drawing.items)
    ]
    return Placed(
        right - left + 2 * PADDING + spare,
        lines.height,
        tuple(boxes),
        tuple(
            Line(
                tuple((px + shift, py) for px, py in r.points), r.arrow, links[(r.segment.upper, r.segment.upper_port)]
            )
            for r in lines.routes
        ),
        tuple(
            Label(x[v] + shapes[v].outputs[0] + shift + _ASIDE, lines.tops[v] + heights[v] + 12, link)
            for v, link in labels.items()
        ),
        tuple((px + shift, py) for px, py in lines.junctions),
        tuple(x[v] + shift for v in first),
        tuple(x[v] + shift for v in last),
    )


def header_width(item: Item) -> float:
    """The width that the header of a box needs."""
    left = width(item.title, TITLE, bold=True) + width("  " + item.note, TITLE)
    return left + (width(item.count, SMALL) + 24 if item.count else 0) + 20


def _size(item: Item, inner: Placed | None, links: Sequence[Link]) -> tuple[float, Shape]:
    """The height and the shape of an item."""
    operands = 1 + max((link.target.port for link in links if link.target.item == item.key), default=0)
    results = 1 + max((link.source.port for link in links if link.source.item == item.key), default=0)
    if inner:
        ins, outs = (tuple(at - inner.width / 2 for at in side) for side in (inner.inputs, inner.outputs))
        return inner.height + HEADER, Shape(inner.width, ins or (0.0,), outs or (0.0,))
    if item.kind is Kind.OPERATOR:
        return 20.0, Shape(20.0, (0.0,) * operands, (0.0,) * results)
    if item.kind in (Kind.OPERATION, Kind.PENALTY):
        tall, wide = 22.0, width(item.title, TITLE - 1) + 18
    else:
        title = width(item.title, TITLE, bold=True) + (width("  " + item.note, TITLE) if item.note else 0)
        tall, wide = (38.0 if item.count else 26.0), max(title, width(item.count, SMALL)) + 20
        tall += 8.0 if item.kind is Kind.STATE else 0.0
    wide = max(wide, 22.0 * operands, 40.0)
    return tall, Shape(wide, _spread(operands, wide), _spread(results, wide))


def _spread(count: int, wide: float) -> tuple[float, ...]:
    step = min(26.0, (wide - 20) / max(1, count - 1))
    return tuple((i - (count - 1) / 2) * step for i in range(count))


def _straightened(
    layers: Layers, shapes: dict[int, Shape], x: Mapping[int, float], drawing: Drawing, number: Mapping[str, int]
) -> dict[int, Shape]:
    """Let operands enter a plain item right below where they come from, as far as it is wide enough."""
    arriving: dict[int, dict[int, float]] = defaultdict(dict)
    for s in layers.segments:
        arriving[s.lower][s.lower_port] = x[s.upper] + shapes[s.upper].outputs[s.upper_port] - x[s.lower]
    changed = dict(shapes)
    for item in drawing.items:
        v, shape = number[item.key], shapes[number[item.key]]
        if item.inner or item.kind is Kind.OPERATOR or len(arriving[v]) < 2:
            continue
        reach = shape.width / 2 - 10
        ports = sorted(arriving[v], key=lambda port: (arriving[v][port], port))
        at = [max(-reach, min(reach, arriving[v][port])) for port in ports]
        for i in range(1, len(at)):
            at[i] = max(at[i], at[i - 1] + _PORT_GAP)
        at[-1] = min(at[-1], reach)
        for i in reversed(range(len(at) - 1)):
            at[i] = min(at[i], at[i + 1] - _PORT_GAP)
        wanted = dict(zip(ports, at, strict=True))
        changed[v] = replace(shape, inputs=tuple(wanted.get(i, old) for i, old in enumerate(shape.inputs)))
    return changed


def _links(layers: Layers, wires: Mapping[tuple[int, int, int, int], Link]) -> dict[tuple[int, int], Link]:
    """For every result, and every lane that carries it on, a link that says what flows there."""
    links = {(upper, port): link for (upper, port, _, _), link in wires.items()}
    for s in sorted(layers.segments, key=lambda s: _row(layers, s.upper)):
        if layers.is_lane(s.lower):
            links[(s.lower, 0)] = links[(s.upper, s.upper_port)]
    return links


def _row(layers: Layers, vertex: int) -> int:
    return next(r for r, row in enumerate(layers.rows) if vertex in row)


def _labelled(drawing: Drawing, number: Mapping[str, int]) -> dict[int, Link]:
    """The results whose axes are shown: those that differ from what went in, and what enters a drawing."""
    boxes = {item.key for item in drawing.items if item.inner}  # the value has its axes inside
    entering: dict[int, set[str]] = defaultdict(set)
    for link in drawing.links:
        if link.target.item:
            entering[number[link.target.item]].add(axes(link.type))
    shown: dict[int, Link] = {}
    for link in drawing.links:
        vertex = number[link.source.item] if link.source.item else link.source.port
        first = link.source.port == 0 or not link.source.item
        if first and axes(link.type) not in entering[vertex] and link.type.axes and link.source.item not in boxes:
            shown.setdefault(vertex, link)
    return shown
