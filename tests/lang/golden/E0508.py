"""Two axes of tokens that are joined: with positions per row their types no longer agree."""

from weft.compiler.ir.graph import Graph
from weft.compiler.ir.module import Function, Instance, Module
from weft.compiler.ir.ops import build
from weft.compiler.stream import rows
from weft.lang.axes import Axis, TensorType
from weft.lang.sizes import Size


def trigger() -> None:
    batch, token = (Axis(name, Size.symbol(name)) for name in "BT")
    graph, type = Graph(), TensorType((batch, token))
    x = build(graph, "input", name="x", type=type)
    where = build(graph, "position", axis=token)
    renamed = build(graph, "rename", where, axis="T", to=Axis("B", Size.symbol("T")))
    graph.outputs = (x, build(graph, "cast", renamed, dtype="real"))
    entry = Function("Odd.forward", graph, (("x", type),), ("value.0", "value.1"), "Odd")
    rows(Module("Odd", {entry.name: entry}, entry.name, Instance("Odd"), ("T", "S"), "full", "B", "T"))
