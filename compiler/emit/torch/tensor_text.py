"""What the primitives are written with: methods and subscripts of a tensor, by the names of its axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ....lang.axes import Axis
from ...ir.graph import Node
from . import layout
from .text import Expr, Level
from .writer import Writer


def dim_of(expr: Expr, name: str) -> int:
    """The position of an axis; the last one is -1."""
    at = expr.names.index(name)
    return -1 if at == len(expr.axes) - 1 else at


def method_of(expr: Expr, text: str, axes: tuple[Axis, ...] | None = None) -> Expr:
    """A method of a tensor: `.name(..)`."""
    return replace(expr.with_text(f"{expr.at(Level.ATOM)}{text}"), axes=expr.axes if axes is None else axes)


def subscript(expr: Expr, name: str, entry: str) -> str:
    return f"[{layout.shortest([entry if n == name else ':' for n in expr.names])}]"


def swapped(expr: Expr, name: str, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes with one replaced by others."""
    at = expr.names.index(name)
    return (*expr.axes[:at], *axes, *expr.axes[at + 1 :])


def one(make: Callable[[Writer, Node, Expr], Expr]) -> Callable[[Writer, Node], Expr]:
    """A primitive of one operand that must have all its axes."""

    def run(writer: Writer, node: Node) -> Expr:
        return writer.fit(lambda: make(writer, node, writer.shaped(node.operands[0])), node.operands)

    return run
