"""Dropout with a keep mask that depends on nothing but the seed, the step, the place and the element."""

from __future__ import annotations

from ...ir.graph import Node
from . import layout
from .names import identifier
from .text import Expr, Level
from .writer import Writer


def dropout(writer: Writer, node: Node) -> Expr:
    """`dropout(x, rate, key)` while training: the key is a buffer of the module that drops."""
    value = node.operands[0]

    def render() -> Expr:
        expr = layout.ordered(writer.real(writer.shaped(value)), writer.type(value).names)
        rate = writer.emission.blanks.mark(node["rate"], "rate", ("rate",))
        text = f"{writer.emission.helper('dropout')}({expr.text}, {rate}, self.{buffer}) if self.training else {expr.text}"
        return expr.with_text(text, Level.CHOICE)

    writer.assign(value)
    buffer = f"{identifier(node['name'], 'dropout')}_key"
    taken = writer.scope.method.noise
    while buffer in taken:
        buffer = f"{buffer}_"
    taken.append(buffer)
    return render()
