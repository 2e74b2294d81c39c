"""Primitives that change the axes of a tensor, or put several together, as PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...ir.graph import Node, Value
from . import layout
from .tensor_text import dim_of, method_of, one, subscript, swapped
from .text import Expr, Level
from .writer import Writer


def _rename(writer: Writer, node: Node) -> Expr:
    expr = writer.values[node.operands[0]]
    axes = tuple(node["to"] if a.name == node["axis"] else a for a in expr.axes)
    return replace(expr, axes=axes)


def _expand(writer: Writer, node: Node) -> Expr:
    return writer.values[node.operands[0]]


def split(writer: Writer, node: Node) -> None:
    """Into named axes; parts that are all selected by number are taken apart at once."""

    def whole() -> Expr:
        expr = writer.shaped(node.operands[0])
        lengths = ", ".join(map(writer.size, node["into"]))
        dim = dim_of(expr, node["axis"])
        return method_of(expr, f".unflatten({dim}, ({lengths}))", swapped(expr, node["axis"], node["into"]))

    selects = _selects(writer, node)
    if selects is None:
        writer.settle(node.values[0], writer.fit(whole, node.operands))
        return
    name, parts = selects
    if name == node["into"][0].name and len(node["into"]) == 2:
        expr = writer.shaped(node.operands[0])
        dim = dim_of(expr, node["axis"])
        axes = swapped(expr, node["axis"], node["into"][1:])
        text = f"{expr.at(Level.ATOM)}.chunk({len(parts)}, dim={dim})"
    else:
        expr = whole()
        axes = tuple(a for a in expr.axes if a.name != name)
        text = f"{expr.text}.unbind({dim_of(expr, name)})"
    names = []
    for part in parts:
        names.append("_" if part is None else writer.scope.names.take(writer.spec_names.get(part) or "part"))
    writer.scope.line(f"{', '.join(names)} = {text}", (axes,))
    for part, variable in zip(parts, names, strict=True):
        if part is not None:
            writer.values[part] = replace(expr.with_text(variable), axes=axes)


def _selects(writer: Writer, node: Node) -> tuple[str, list[Value | None]] | None:
    """The axis and the node that selects each of its entries, if a split is only used by such nodes."""
    users = [writer.graph[u] for u, _ in writer.graph.users(node.values[0])]
    users = [u for u in users if u.values[0] in writer.uses]
    axes = {u["axis"] for u in users if u.op == "select"}
    if len(axes) != 1 or any(u.op != "select" for u in users) or node.values[0] in writer.graph.outputs:
        return None
    (name,) = axes
    axis = next((a for a in node["into"] if a.name == name), None)
    if axis is None or not axis.size.is_constant or axis.size.value > 8:
        return None
    parts: list[Value | None] = [None] * axis.size.value
    for user in users:
        parts[user["at"]] = user.values[0]
    return name, parts


def _select(writer: Writer, node: Node) -> Expr:
    if node.values[0] in writer.values:  # written together with its split
        return writer.values[node.values[0]]

    def render() -> Expr:
        expr = writer.values[node.operands[0]]
        if node["axis"] not in expr.names:
            return expr
        return method_of(expr, subscript(expr, node["axis"], str(node["at"])), swapped(expr, node["axis"], ()))

    return writer.fit(render, node.operands)


@one
def _merge(writer: Writer, node: Node, expr: Expr) -> Expr:
    merged = node["axes"]
    order = [m for n in expr.names for m in (merged if n == merged[0] else () if n in merged else (n,))]
    expr = layout.ordered(expr, order)
    at = expr.names.index(merged[0])
    axes = (*expr.axes[:at], node["into"], *expr.axes[at + len(merged) :])
    if len(merged) == 1:
        return replace(expr, axes=axes)
    return method_of(expr, f".flatten({at}, {at + len(merged) - 1})", axes)


@one
def _slice(writer: Writer, node: Node, expr: Expr) -> Expr:
    start, size = node["start"], node["to"].size
    if size.is_constant:
        entry = f"{start or ''}:{start + size.value}"
    else:
        entry = f"{start or ''}:{f'{start} + ' if start else ''}{writer.size(node['to'])}"
    return method_of(expr, subscript(expr, node["axis"], entry), swapped(expr, node["axis"], (node["to"],)))


def _cat(writer: Writer, node: Node) -> Expr:
    """`concat` and `append`: tensors one after another along an axis."""
    along = node["axis"]

    def render() -> Expr:
        parts = _agreeing(writer, node.operands, along)
        precision = max(e.precision for e in parts)
        texts = ", ".join(e.text for e in parts) + ("," if len(parts) == 1 else "")
        text = f"torch.cat(({texts}), dim={dim_of(parts[0], along)})"
        return Expr(text, Level.ATOM, swapped(parts[0], along, (node["to"],)), precision)

    return writer.fit(render, node.operands)


def _agreeing(writer: Writer, values: Sequence[Value], along: str = "") -> list[Expr]:
    """Tensors with the same axes in the same order; those that none of them has are left out."""
    parts = [writer.values[v] for v in values]
    sets = {frozenset(e.names) for e in parts}
    if len(sets) > 1 or any(e.number is not None for e in parts) or (along and along not in parts[0].names):
        parts = [writer.shaped(v) for v in values]
    return [layout.ordered(writer.real(e), parts[0].names) for e in parts]


def _stack(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        parts = _agreeing(writer, node.operands)
        precision = max(e.precision for e in parts)
        text = f"torch.stack(({', '.join(e.text for e in parts)}{',' if len(parts) == 1 else ''}), dim=-1)"
        return Expr(text, Level.ATOM, (*parts[0].axes, node["axis"]), precision)

    return writer.fit(render, node.operands)


SHAPES: Mapping[str, Callable[[Writer, Node], Expr]] = {
    "rename": _rename, "expand": _expand, "select": _select, "merge": _merge, "slice": _slice,
    "concat": _cat, "append": _cat, "stack": _stack,
}
