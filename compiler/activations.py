"""Estimates what training keeps of a forward pass for its backward pass.

The estimate follows the rules of reverse differentiation: a product keeps its factors, an exponential its result, a sum
nothing. A tensor that several operations keep counts once. Composites that a back end runs as one kernel keep what that
kernel keeps. What an allocator, casts or a compiler add or save on top is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..lang.sizes import Size
from .flops import elements
from .ir.graph import Graph, Node, Value
from .ir.module import Function, Module
from .ir.needs import callees_first

# Composites with a backward pass of their own: (keeps its inputs, keeps its result).
_KERNELS = {
    "weft.attention.attend": (True, True),
    "weft.nn.rms_norm": (True, False),
    "weft.nn.layer_norm": (True, False),
    "weft.nn.gelu": (True, False),
    "weft.nn.gelu_tanh": (True, False),
    "weft.nn.silu": (True, False),
    "weft.position.rope": (False, False),
}
_VIEWS = frozenset(("rename", "cast", "expand", "split", "merge", "select", "slice"))
_SOURCES = frozenset(("const", "table", "param", "index", "position", "ambient"))
_FACTORS = frozenset(("dot", "mul", "div", "minimum", "maximum", "pow"))
_OPERAND = frozenset(("log", "sin", "cos", "abs", "erf", "max", "min"))
_RESULT = frozenset(("exp", "sqrt", "rsqrt", "tanh", "sigmoid", "softmax"))


@dataclass(frozen=True)
class Kept:
    """What one run of a function keeps: values of its own, and which inputs and results it keeps."""

    own: Size
    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()
    aliases: tuple[int | None, ...] = ()  # the input that is result i under another name


def activations(module: Module) -> Size:
    """Values kept by one forward pass of the whole model, as a polynomial in batch and sequence.

    The logits and the loss are not in it: the head runs in chunks of rows that are computed again in the backward pass.
    """
    known: dict[str, Kept] = {}
    for name in callees_first(module):
        known[name] = _Walk(module.functions[name], known, head=name == module.entry).kept()
    return known[module.entry].own


class _Walk:
    """One function: follows which value is which tensor, and marks those that are kept."""

    def __init__(self, function: Function, known: Mapping[str, Kept], head: bool) -> None:
        self.function, self.graph, self.known = function, function.graph, known
        self.classes = function.output_types[0].names[-1:] if head and function.outputs else ()
        self.alias: dict[Value, Value] = {}
        self.fixed: set[Value] = set()
        self.marked: dict[Value, None] = {}
        self.own = Size.of(0)

    def kept(self) -> Kept:
        inputs = {self.function.input(i): i for i in range(len(self.function.inputs))}
        kernel = _KERNELS.get(self.function.definition)
        if kernel:
            real = (i for i, (_, type) in enumerate(self.function.inputs) if type.dtype == "real" and type.axes)
            return Kept(Size.of(0), frozenset(real if kernel[0] else ()), frozenset((0,) if kernel[1] else ()))
        for node in self.graph.nodes():
            self._node(node)
        outputs = [self._root(v) for v in self.graph.outputs]
        own = self.own
        for value in self.marked:
            if value not in inputs and value not in outputs:
                own = own + elements(self.graph.type(value))
        return Kept(
            own,
            frozenset(inputs[v] for v in self.marked if v in inputs),
            frozenset(i for i, v in enumerate(outputs) if v in self.marked and v not in inputs),
            tuple(inputs.get(v) for v in outputs),
        )

    def _root(self, value: Value) -> Value:
        return self.alias.get(value, value)

    def _mark(self, value: Value) -> None:
        root, type = self._root(value), self.graph.type(value)
        if root not in self.fixed and type.dtype == "real" and not any(type.has(name) for name in self.classes):
            self.marked[root] = None

    def _node(self, node: Node) -> None:
        operands, result = node.operands, Value(node.id)
        if node.op in _SOURCES or (operands and all(self._root(v) in self.fixed for v in operands)):
            self.fixed.update(node.values)
        elif node.op in _VIEWS:
            self.alias[result] = self._root(operands[0])
        elif node.op in _FACTORS:
            for factor, other in (operands, operands[::-1]):
                if not _plain(self.graph, other):
                    self._mark(factor)
            if node.op == "pow":
                self._mark(operands[0])
        elif node.op in _OPERAND:
            self._mark(operands[0])
        elif node.op in _RESULT:
            self._mark(result)
        elif node.op == "call":
            self._call(node, self.known[node["callee"]])
        elif node.op == "repeat":
            self._repeat(node)
        elif node.op == "scan":
            body = self.known[node["body"]]
            self.own = self.own + body.own * node["axis"].size
            for position in sorted(body.inputs):
                self._mark(operands[position])
                if position < node["states"]:  # every step keeps the state it began with
                    self.own = self.own + elements(self.graph.type(operands[position])) * node["axis"].size

    def _call(self, node: Node, callee: Kept) -> None:
        if not any(node.types[0].has(name) for name in self.classes):
            self.own = self.own + callee.own
        for position in sorted(callee.inputs):
            self._mark(node.operands[position])
        for position in sorted(callee.outputs):
            self._mark(Value(node.id, position))
        for result, source in enumerate(callee.aliases):
            if source is not None:
                self.alias[Value(node.id, result)] = self._root(node.operands[source])

    def _repeat(self, node: Node) -> None:
        for body, count in sorted(Counter(node["schedule"]).items()):
            layer = self.known[node["bodies"][body]]
            own = layer.own
            for position in sorted(layer.inputs | layer.outputs):
                if position < node["carried"]:
                    own = own + elements(node.types[position])
                else:
                    self._mark(node.operands[position])
            self.own = self.own + own * Size.of(count)


def _plain(graph: Graph, value: Value) -> bool:
    """Whether a value is a number or a position: nothing is learned through it."""
    return graph[value].op in ("const", "table", "index", "position")
