"""`take` as PyTorch: rows of a table by their numbers."""

from __future__ import annotations

from dataclasses import replace

from ...ir.graph import Node, Value
from . import layout
from .text import Expr, Level
from .writer import Writer


def take(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        table, ids = writer.shaped(node.operands[0]), writer.shaped(node.operands[1])
        table = writer.real(table)
        axis = node["axis"]
        rest = tuple(a for a in table.axes if a.name != axis)
        if not _in_range(writer, node.operands[1]):
            last = writer.size(writer.type(node.operands[0]).axis(axis))
            ids = ids.with_text(f"{ids.at(Level.ATOM)}.clamp(0, {last} - 1)")
        if not any(a.name in ids.names for a in rest):
            result = replace(table, axes=(*ids.axes, *rest))
            if table.names[0] == axis and len(table.axes) == 2 and ids.axes:
                return result.with_text(f"F.embedding({ids.text}, {table.text})")
            if table.names[0] != axis:
                table = layout.ordered(table, (axis, *(a.name for a in rest)))
            return result.with_text(f"{table.at(Level.ATOM)}[{ids.text}]")
        target = (*ids.axes, *(a for a in rest if a.name not in ids.names))
        at = table.names.index(axis)
        if table.names[:at] == ids.names[:-1] and len(target) == len(ids.axes) + len(table.axes) - at - 1:
            index = f"{ids.at(Level.ATOM)}[..., {', '.join(['None'] * (len(table.axes) - at - 1))}]"
            index = index if len(table.axes) > at + 1 else ids.text
            return replace(table, axes=target).with_text(f"torch.take_along_dim({table.text}, {index}, dim={at})")
        names = [a.name for a in target]
        table = layout.aligned(table, (*names, axis), complete=True)
        ids = layout.aligned(ids, names, complete=True)
        text = f"torch.take_along_dim({table.text}, {ids.at(Level.ATOM)}[..., None], dim=-1)[..., 0]"
        return replace(table.with_text(text), axes=target)

    return writer.fit(render, node.operands)


def _in_range(writer: Writer, value: Value) -> bool:
    """Whether indices are as they came: tokens, positions, what was the largest. Out of range they are an error, as
    everywhere in PyTorch; indices that were computed are clamped to the table, as the program says."""
    node = writer.graph[value]
    while node.op in ("rename", "expand"):
        node = writer.graph[node.operands[0]]
    return node.op in ("input", "position", "index", "ambient", "argmax")
