"""Writes a placed drawing as SVG: one file, no script, no external reference."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ..ir.module import Module
from ..quantities import axes, count, spelled
from .layout import HEADER, SMALL, TITLE, Box, Label, Line, Placed, layout
from .picture import Item, Kind
from .routing import Point
from .scene import scene, states_of
from .style import COLOURS, STYLE
from .text import width

_MARGIN, _HEAD, _LEGEND = 24.0, 58.0, 40.0
_CORNER = 7.0
_SHEET = 4.0


def to_svg(module: Module) -> str:
    """The model as a complete SVG document: its boxes, the flow of its forward function, axes and parameter counts.

    Hovering shows details where the viewer can. The same module always gives the same text.
    Raises WeftError when the model has a stream but no decoder (it sees the future).
    """
    placed = layout(scene(module, states_of(module)))
    sizes = axis_sizes(placed)
    return document(placed, module.name, f"{count(module.parameter_count())} parameters", sizes)


def document(placed: Placed, title: str, subtitle: str, sizes: str) -> str:
    """A placed drawing as an SVG document; the other texts stand above it."""
    kinds = [kind for kind in COLOURS if kind in set(_kinds(placed))]
    inner = max(placed.width, width(title, 17, bold=True), width(subtitle, TITLE), min(width(sizes, SMALL), 460.0))
    rows = _legend_rows(kinds, inner)
    wide = inner + 2 * _MARGIN
    tall = placed.height + 2 * _MARGIN + _HEAD + _LEGEND / 2 + 20 * len(rows)
    left = (wide - placed.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {_n(wide)} {_n(tall)}" '
        f'width="{_n(wide)}" height="{_n(tall)}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{_n(wide)}" height="{_n(tall)}" fill="#ffffff"/>',
        f'<text class="model" x="{_n(_MARGIN)}" y="{_n(_MARGIN + 14)}">{_text(title)}</text>',
        f'<text class="note" x="{_n(_MARGIN)}" y="{_n(_MARGIN + 33)}">{_text(subtitle)}</text>',
        f'<text class="small" x="{_n(_MARGIN)}" y="{_n(_MARGIN + 49)}">{_text(sizes)}</text>',
        f'<g transform="translate({_n(left)} {_n(_MARGIN + _HEAD)})">',
        *_drawing(placed, 0),
        "</g>",
        *_legend(rows, _MARGIN, _MARGIN + _HEAD + placed.height + _LEGEND / 2 + 12),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _drawing(placed: Placed, depth: int) -> Iterator[str]:
    boxes = [box for box in placed.boxes if box.inner]
    for box in boxes:
        yield from _container(box, depth)
    for line in placed.lines:
        yield _line(line)
    for x, y in placed.junctions:
        yield f'<circle class="junction" cx="{_n(x)}" cy="{_n(y)}" r="2.2"/>'
    for box in placed.boxes:
        if not box.inner:
            yield from _leaf(box)
    for label in placed.labels:
        yield _label(label)


def _open(item: Item, box: Box, extra: str = "") -> str:
    words = " ".join(w for w in (item.title, item.note) if w)
    hover = "\n".join((words, *(f"{name}: {value}" for name, value in item.facts)))
    return (
        f'<g class="item {item.kind.value}{extra}" data-key="{_text(item.key)}" '
        f'transform="translate({_n(box.x)} {_n(box.y)})">'
        f"<title>{_text(hover)}</title>"
    )


def _container(box: Box, depth: int) -> Iterator[str]:
    assert box.inner
    item, w, h = box.item, box.width, box.height
    yield _open(item, box, " shade" if depth % 2 == 0 else "")
    if item.kind in (Kind.LAYERS, Kind.STACK):
        for i in (2, 1):
            at = _n(_SHEET * i)
            yield f'<rect class="sheet" x="{at}" y="{at}" width="{_n(w)}" height="{_n(h)}" rx="6"/>'
    yield f'<rect class="shape" width="{_n(w)}" height="{_n(h)}" rx="6"/>'
    corners = f"M0.5 {_n(HEADER)} V6.5 A6 6 0 0 1 6.5 0.5 H{_n(w - 6.5)} A6 6 0 0 1 {_n(w - 0.5)} 6.5 V{_n(HEADER)} Z"
    yield f'<path class="header" d="{corners}"/>'
    name, note = _text(item.title), _text(item.note)
    yield f'<text x="10" y="16.5"><tspan class="name">{name}</tspan><tspan class="note" dx="7">{note}</tspan></text>'
    if item.count:
        yield f'<text class="small" x="{_n(w - 10)}" y="16" text-anchor="end">{_text(item.count)}</text>'
    yield f'<g transform="translate(0 {_n(HEADER)})">'
    yield from _drawing(box.inner, depth + 1)
    yield "</g></g>"


def _leaf(box: Box) -> Iterator[str]:
    item, w, h = box.item, box.width, box.height
    yield _open(item, box)
    middle = _n(w / 2)
    if item.kind is Kind.OPERATOR:
        yield f'<circle class="shape" cx="10" cy="10" r="9.5"/>{_sign(item.title)}</g>'
        return
    if item.kind is Kind.STATE:
        yield (
            f'<path class="shape" d="M0 6 A{middle} 5 0 0 1 {_n(w)} 6 V{_n(h - 6)} A{middle} 5 0 0 1 0 {_n(h - 6)} Z"/>'
            f'<path class="line" style="stroke:{COLOURS[Kind.STATE][1]}" d="M0 6 A{middle} 5 0 0 0 {_n(w)} 6"/>'
        )
    else:
        round = h / 2 if item.kind in (Kind.INPUT, Kind.OUTPUT, Kind.OPERATION, Kind.PENALTY, Kind.FUNCTION) else 5
        yield f'<rect class="shape" width="{_n(w)}" height="{_n(h)}" rx="{_n(min(round, 13))}"/>'
    if item.kind is Kind.SCAN:
        yield (
            f'<path class="line" style="stroke:{COLOURS[Kind.SCAN][1]}" '
            f'd="M{_n(w)} {_n(h - 10)} h5 a4 4 0 0 0 4 -4 V14 a4 4 0 0 0 -4 -4 h-3"/>'
            f'<path style="fill:{COLOURS[Kind.SCAN][1]}" d="M{_n(w)} 10 l6 -3 v6 z"/>'
        )
    if item.remembers:
        cylinder = "a6 2.5 0 0 1 12 0 v9 a6 2.5 0 0 1 -12 0 z m0 0 a6 2.5 0 0 0 12 0"
        yield f'<path class="memory" d="M{_n(w - 8)} -4 {cylinder}"/>'
    top = h / 2 + 4 + (3 if item.kind is Kind.STATE else 0) - (7 if item.count else 0)
    note = f'<tspan class="note" dx="6">{_text(item.note)}</tspan>' if item.note else ""
    name = "" if item.kind in (Kind.OPERATION, Kind.PENALTY) else ' class="name"'
    yield f'<text x="{middle}" y="{_n(top)}" text-anchor="middle"><tspan{name}>{_text(item.title)}</tspan>{note}</text>'
    if item.count:
        yield f'<text class="small" x="{middle}" y="{_n(top + 14)}" text-anchor="middle">{_text(item.count)}</text>'
    yield "</g>"


def _sign(sign: str) -> str:
    strokes = {
        "+": "M10 5 V15 M5 10 H15",
        "−": "M5 10 H15",
        "×": "M6.2 6.2 L13.8 13.8 M13.8 6.2 L6.2 13.8",
        "÷": "M5 10 H15 M10 5.4 v1.6 M10 13 v1.6",
    }
    return f'<path d="{strokes[sign]}"/>'


def _line(line: Line) -> str:
    points = list(line.points)
    head = ""
    if line.arrow:
        (ax, _), (bx, by) = points[-2], points[-1]
        if ax == bx:
            head = f"M{_n(bx)} {_n(by)} l-3.6 -7 h7.2 z"
            points[-1] = (bx, by - 5)
        else:
            away = 1 if bx > ax else -1
            head = f"M{_n(bx)} {_n(by)} l{-7 * away} -3.6 v7.2 z"
            points[-1] = (bx - 5 * away, by)
    drawn = f'<path class="line" d="{_path(points)}"/>'
    if head:
        drawn += f'<path class="head" d="{head}"/>'
    source, type = _text(line.link.source.item), _text(spelled(line.link.type))
    return f'<g class="link" data-from="{source}"><title>{type}</title>{drawn}</g>'


def _path(points: list[Point]) -> str:
    """Straight pieces with rounded corners."""
    out = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(bx - ax) + abs(by - ay), abs(cx - bx) + abs(cy - by)
        r = min(_CORNER, before / 2, after / 2)
        sx, sy = bx - _sign_of(bx - ax) * r, by - _sign_of(by - ay) * r
        ex, ey = bx + _sign_of(cx - bx) * r, by + _sign_of(cy - by) * r
        out.append(f"L{_n(sx)} {_n(sy)} Q{_n(bx)} {_n(by)} {_n(ex)} {_n(ey)}")
    out.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return " ".join(out)


def _sign_of(value: float) -> int:
    return (value > 0) - (value < 0)


def _label(label: Label) -> str:
    return f'<text class="small axes" x="{_n(label.x)}" y="{_n(label.y)}">{_text(axes(label.link.type))}</text>'


def axis_sizes(placed: Placed) -> str:
    """`D = 4096, H = 32`: the sizes of axes whose name means one size in the whole picture."""
    known: dict[str, set[str]] = {}
    waiting = [placed]
    while waiting:
        here = waiting.pop()
        waiting += [box.inner for box in here.boxes if box.inner]
        for line in here.lines:
            for axis in line.link.type.axes:
                if axis.size.is_constant:
                    known.setdefault(axis.name, set()).add(str(axis.size))
    return ", ".join(f"{name} = {int(sizes.pop()):,}" for name, sizes in sorted(known.items()) if len(sizes) == 1)


# ------------------------------------------------------------------ legend


def _kinds(placed: Placed) -> Iterator[Kind]:
    for box in placed.boxes:
        yield box.item.kind
        if box.item.remembers and not box.inner:
            yield Kind.STATE
        if box.inner:
            yield from _kinds(box.inner)


def _swatch_width(kind: Kind) -> float:
    return 18 + width(COLOURS[kind][2], SMALL) + 18


def _legend_rows(kinds: list[Kind], wide: float) -> list[list[Kind]]:
    """The kinds that occur, in as many rows as they need."""
    rows: list[list[Kind]] = []
    used = wide
    for kind in kinds:
        if used + _swatch_width(kind) > wide:
            rows.append([])
            used = 0.0
        rows[-1].append(kind)
        used += _swatch_width(kind)
    return rows


def _legend(rows: list[list[Kind]], left: float, top: float) -> Iterator[str]:
    for row, kinds in enumerate(rows):
        x, y = left, top + 20 * row
        for kind in kinds:
            yield f'<rect class="swatch {kind.value}" x="{_n(x)}" y="{_n(y - 9)}" width="12" height="12" rx="3"/>'
            yield f'<text class="small" x="{_n(x + 18)}" y="{_n(y)}">{COLOURS[kind][2]}</text>'
            x += _swatch_width(kind)


# ------------------------------------------------------------------ text


def _n(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """Text that is safe in an element and in an attribute; characters that XML forbids are left out."""
    return escape("".join(c for c in text if c in "\n\t" or c.isprintable()))
