"""An operation that a pass of one's own has put in."""

from weft.compiler.emit.onnx import build
from weft.compiler.ir.graph import Graph
from weft.compiler.ir.module import Function, Instance, Module
from weft.compiler.ir.ops import build as add
from weft.lang.axes import Axis, TensorType
from weft.lang.sizes import Size


def trigger() -> None:
    graph, type = Graph(), TensorType((Axis("B", Size.symbol("B")),))
    x = add(graph, "input", name="x", type=type)
    graph.outputs = graph.add("frobnicate", (x,), (type,))
    function = Function("Demo.forward", graph, (("x", type),), ("value",))
    build(Module("Demo", {function.name: function}, function.name, Instance("Demo"), batch="B"))
