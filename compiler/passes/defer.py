"""Defer: the sum that ends a layer is left to the next one, which begins with its norm.

Layers of a pre-norm model end with `x + y` and begin with a norm of their input. Between the two stands the end of a
layer, where no rule can see both. So the layers carry both summands, and each begins with their sum; behind the last
one they are added. The first layer begins with its input and zeros.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      blocks: layers (0, 0) {
        Block {
          param scale: [D:4] = ones()
        }
      }
    }

    function Block.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Block
      %1 = param(name=scale): [D:4]
      %2 = mul(%x, %1): [B, D:4]
      %3 = add(%x, %2): [B, D:4]
      return %3
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = repeat(%x, bodies=(Block.forward,), carried=1, instance=@blocks, schedule=(0, 0), site=blocks, sums=0): [B, D:4]
      return %1
    }

After:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      blocks: layers (0, 0) {
        Block {
          param scale: [D:4] = ones()
        }
      }
    }

    function Block.forward.deferred(x: [B, D:4], more: [B, D:4]) -> (value.0: [B, D:4], value.1: [B, D:4]) {
      block Block
      %2 = param(name=scale): [D:4]
      %3 = add(%x, %more): [B, D:4]
      %4 = mul(%3, %2): [B, D:4]
      return %3, %4
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = const(value=0.0): []
      %2 = expand(%1, axes=(<B>, <D:4>)): [B, D:4]
      %3 = repeat(%x, %2, bodies=(Block.forward.deferred,), carried=2, instance=@blocks, schedule=(0, 0), site=blocks, sums=0): ([B, D:4], [B, D:4])
      %4 = add(%3.0, %3.1): [B, D:4]
      return %4
    }

Layers that carry more than one value, do not all end with a sum of reals, or do not begin with one of the functions
that are asked for, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.control import repeat
from ..ir.graph import Graph, Node, Origin
from ..ir.module import Function, Module
from ..ir.ops import build, constant
from ..ir.order import reachable
from .editing import closed, opened


@dataclass(frozen=True)
class Defer:
    """Leave the last sum of a layer to the layer behind it, if that begins with one of some functions (() for any)."""

    before: tuple[str, ...] = ()
    name: str = "defer"

    def run(self, module: Module) -> Module:
        functions = dict(module.functions)
        for name in reachable(module):
            graph = opened(functions[name])
            nodes = [n for n in graph.nodes() if n.op == "repeat" and all(self._fits(module, b) for b in n["bodies"])]
            nodes = [n for n in nodes if n["carried"] == 1 and not n["sums"]]
            for node in nodes:
                _deferred(graph, node, functions)
            if nodes:
                functions[name] = closed(functions[name], graph)
        result = replace(module, functions=functions)
        there = frozenset(reachable(result))
        kept = {n: f for n, f in functions.items() if n in there or n not in module.functions}
        return replace(result, functions=kept)

    def _fits(self, module: Module, name: str) -> bool:
        """Whether a body ends with a sum of two values that have all axes of the result, and begins as it should."""
        function = module.functions[name]
        graph, first = function.graph, function.inputs[0][1]
        if len(graph.outputs) != 1:
            return False
        last = graph[graph.outputs[0]]
        if last.op != "add" or first.dtype != "real" or any(graph.type(v) != first for v in last.operands):
            return False
        users = [graph[user] for user, _ in graph.users(function.input(0))]
        called = [module.functions[n["callee"]].definition for n in users if n.op == "call"]
        return not self.before or any(definition in self.before for definition in called)



def _deferred(graph: Graph, node: Node, functions: dict[str, Function]) -> None:
    origin = Origin(None, "defer", (node.origin,), node.origin.name)
    names = {body: _body(functions, body) for body in dict.fromkeys(node["bodies"])}
    carried, type = node.operands[0], node.types[0]
    nothing = build(graph, "expand", constant(graph, 0.0, origin), origin=origin, axes=type.axes)
    results = repeat(
        graph, tuple(names[b] for b in node["bodies"]), node["schedule"], (carried, nothing, *node.operands[1:]),
        (type, type), node["site"], node["instance"], 2, 0, origin,
    )
    graph.replace(node.values[0], build(graph, "add", *results, origin=origin))


def _body(functions: dict[str, Function], name: str) -> str:
    """The body that begins with a sum and gives both summands of the last one; returns its name."""
    made = f"{name}.deferred"
    if made in functions:
        return made
    function = functions[name]
    graph = opened(function)
    first, type = function.inputs[0]
    taken = {n for n, _ in function.inputs}
    more = next(n for n in ("more", *(f"more_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    origin = Origin(None, "defer", (function.origin,))
    x = function.input(0)
    users = graph.users(x)
    added = build(graph, "input", origin=origin, name=more, type=type)
    total = build(graph, "add", x, added, origin=origin)
    graph.redirect(users, total)
    graph.outputs = tuple(total if o == x else o for o in graph.outputs)
    last = graph[graph.outputs[0]]
    graph.outputs = (*last.operands, *graph.outputs[1:])
    inputs = ((first, type), (more, type), *function.inputs[1:])
    changed = replace(function, name=made, inputs=inputs, outputs=("value.0", "value.1"))
    functions[made] = closed(changed, graph)
    return made

