"""Primitives that look back along an axis, as PyTorch: shifts, windows, running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...ir.graph import Node
from . import layout
from .tensor_text import dim_of, method_of, one, subscript, swapped
from .text import Expr, Level
from .writer import Writer


def _preceded(writer: Writer, node: Node, expr: Expr, zeros: int | str) -> str:
    """The tensor behind what was remembered, or behind zeros."""
    if len(node.operands) == 2:
        before = layout.ordered(writer.shaped(node.operands[1]), expr.names)
        return f"torch.cat(({before.text}, {expr.text}), dim={dim_of(expr, node['axis'])})"
    return _padded(expr, node["axis"], f"{zeros}, 0")


def _padded(expr: Expr, axis: str, pads: str) -> str:
    after = len(expr.axes) - 1 - expr.names.index(axis)
    return f"F.pad({expr.text}, ({'0, 0, ' * after}{pads}))"


def _shift(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        expr, by = writer.shaped(node.operands[0]), node["by"]
        if by < 0:
            cut = subscript(expr, node["axis"], f"{-by}:")
            return expr.with_text(f"{_padded(expr, node['axis'], f'0, {-by}')}{cut}")
        return expr.with_text(f"{_preceded(writer, node, expr, by)}{subscript(expr, node['axis'], f':-{by}')}")

    return writer.fit(render, node.operands)


def _delays(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        expr, to = writer.shaped(node.operands[0]), node["to"]
        width = writer.size(to)
        size = to.size
        before = writer.emission.blanks.mark(size.value - 1, "before") if size.is_constant else f"{width} - 1"
        text = f"{_preceded(writer, node, expr, before)}.unfold({expr.names.index(node['axis'])}, {width}, 1)"
        return replace(expr.with_text(text), axes=(*expr.axes, to))

    return writer.fit(render, node.operands)


@one
def _cumsum(writer: Writer, node: Node, expr: Expr) -> Expr:
    return method_of(expr, f".cumsum(dim={dim_of(expr, node['axis'])})")


@one
def _last(writer: Writer, node: Node, expr: Expr) -> Expr:
    size = node["to"].size
    if size.is_constant:
        entry = f"-{size.value}:" if size.value else ":0"
    else:
        entry = f"-{writer.length(size, node['axis']).at(Level.SIGN)}:"
    return method_of(expr, subscript(expr, node["axis"], entry), swapped(expr, node["axis"], (node["to"],)))


SHIFTS: Mapping[str, Callable[[Writer, Node], Expr]] = {
    "shift": _shift, "delays": _delays, "cumsum": _cumsum, "last": _last,
}
