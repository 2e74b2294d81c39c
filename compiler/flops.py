"""Counts the arithmetic of a module by walking its functions; repeats are multiplied, so depth costs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..lang.axes import TensorType
from ..lang.sizes import Size
from .experts import Shares
from .ir.graph import Graph, Node
from .ir.module import Module
from .ir.needs import callees_first
from .ir.ops import ELEMENTWISE_NAMES

_REDUCTIONS = frozenset(("sum", "mean", "max", "min", "softmax", "cumsum"))
_NOTHING = Size.of(0)


@dataclass(frozen=True)
class Work:
    """Operations of one run of a function, as polynomials in its symbolic sizes (batch, sequence, history).

    `contractions`: every `dot` exactly, a multiplication and an addition counted as two. `other`: one per real value
    that an elementwise operation, reduction or softmax produces (masks and positions are not counted).
    """

    contractions: Size = _NOTHING
    other: Size = _NOTHING

    def __add__(self, more: Work) -> Work:
        return Work(self.contractions + more.contractions, self.other + more.other)

    def times(self, count: Size) -> Work:
        return Work(self.contractions * count, self.other * count)


def elements(type: TensorType) -> Size:
    """How many values a tensor has."""
    product = Size.of(1)
    for axis in type.axes:
        product = product * axis.size
    return product


def work(module: Module, shares: Shares | None = None) -> Mapping[str, Work]:
    """The work of every function of a module, callees included; `shares` counts some calls only in part."""
    known: dict[str, Work] = {}
    for name in callees_first(module):
        graph = module.functions[name].graph
        total = Work()
        for node in graph.nodes():
            part = _node(node, graph, known)
            share = (shares or {}).get((name, node.get("site", "")))
            total = total + (part if share is None else part.times(Size.of(share)))
        known[name] = total
    return known


def _node(node: Node, graph: Graph, known: Mapping[str, Work]) -> Work:
    if node.op == "dot":
        return Work(contractions=elements(_contracted(node, graph)) * Size.of(2))
    if node.op == "call":
        return known[node["callee"]]
    if node.op == "scan":
        return known[node["body"]].times(node["axis"].size)
    if node.op == "repeat":
        total = Work()
        for body, count in sorted(Counter(node["schedule"]).items()):
            total = total + known[node["bodies"][body]].times(Size.of(count))
        return total
    if node.types[0].dtype != "real":
        return Work()
    if node.op in _REDUCTIONS:
        return Work(other=elements(graph.type(node.operands[0])))
    return Work(other=elements(node.types[0])) if node.op in ELEMENTWISE_NAMES else Work()


def _contracted(node: Node, graph: Graph) -> TensorType:
    """The axes that a contraction runs over: those of its result and those it sums."""
    left = graph.type(node.operands[0])
    return node.types[0].with_axes((*node.types[0].axes, *(left.axis(name) for name in node["over"])))
