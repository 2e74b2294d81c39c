"""What is remembered becomes a stream of tokens again: only a hand-written module can say that."""

from weft.compiler.ir.graph import Graph
from weft.compiler.ir.module import Function, Instance, Module
from weft.compiler.ir.ops import build
from weft.compiler.stream import step
from weft.lang.axes import Axis, TensorType
from weft.lang.sizes import Size


def trigger() -> None:
    batch, token, history = (Axis(name, Size.symbol(name)) for name in "BTS")
    graph, type = Graph(), TensorType((batch, token))
    x = build(graph, "input", name="x", type=type)
    remembered = build(graph, "rename", x, axis="T", to=history)
    graph.outputs = (build(graph, "rename", remembered, axis="S", to=token),)
    entry = Function("Back.forward", graph, (("x", type),), ("value",), "Back")
    step(Module("Back", {entry.name: entry}, entry.name, Instance("Back"), ("T", "S"), "full", "B", "T"))
