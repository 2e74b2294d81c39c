"""Primitives that read no tensor, as PyTorch: numbers, parameters, states, positions, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...ir.graph import Node
from .names import key_part
from .text import Expr, Level, Precision, show
from .writer import Writer


def _const(writer: Writer, node: Node) -> Expr:
    return writer.number(node["value"])


def _param(writer: Writer, node: Node) -> Expr:
    return Expr(f"self.{node['name']}", Level.ATOM, node.types[0].axes, Precision.PARAMETER)


def _state(writer: Writer, node: Node) -> Expr:
    kind = next(s.kind for s in writer.function.states if s.name == node["name"])
    precision = Precision.WIDE if kind == "carry" else Precision.COMPUTE
    if node.types[0].dtype != "real":
        precision = Precision.WHOLE
    writer.scope.method.stateful = True
    expr = Expr(f"states[{writer.key(key_part(node['name']))}]", Level.ATOM, node.types[0].axes, precision)
    name = writer.scope.names.take(node["name"] if kind == "constant" else f"past_{node['name']}", "past_state")
    writer.scope.line(f"{name} = {expr.text}", (expr.axes,))
    writer.scope.shaped.append((name, expr.axes))
    return expr.with_text(name)


def _ambient(writer: Writer, node: Node) -> Expr:
    return Expr(writer.ambient(node["name"]), Level.ATOM, node.types[0].axes, Precision.WHOLE)


def _arange(writer: Writer, node: Node) -> Expr:
    axis = node["axis"]
    return Expr(f"torch.arange({writer.size(axis)}{writer.on_device()})", Level.ATOM, (axis,), Precision.WHOLE)


def _size(writer: Writer, node: Node) -> Expr:
    """How many entries an axis has, as a tensor: it is a number only while the model runs."""
    text = f"torch.full((), float({writer.size(node['axis'])}){writer.on_device()})"
    return Expr(text, Level.ATOM, (), Precision.WIDE)


def _table(writer: Writer, node: Node) -> Expr:
    """A short table stands where it is used, a long one at the top of the file."""
    text = show(node["values"])
    text = text if len(text) <= 48 else writer.emission.table(text)
    precision = Precision.WIDE if node.types[0].dtype == "real" else Precision.WHOLE
    return Expr(f"torch.tensor({text}{writer.on_device()})", Level.ATOM, (node["axis"],), precision)


SOURCES: Mapping[str, Callable[[Writer, Node], Expr]] = {
    "const": _const, "param": _param, "state": _state, "ambient": _ambient, "table": _table,
    "index": _arange, "position": _arange, "size": _size,
}
