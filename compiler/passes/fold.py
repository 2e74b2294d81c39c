"""Fold: constants and tables of numbers are computed, and operations that change nothing give way to their operand.

Before:

    module Demo (form=full, entry=f)

    instance Demo

    function f(scores: [T, S], mask: bool[T, S]) -> (value: [T, S]) {
      %2 = const(value=0.0): []
      %3 = add(%scores, %2): [T, S]
      %4 = const(value=8.0): []
      %5 = sqrt(%4): []
      %6 = div(%3, %5): [T, S]
      %7 = const(value=true): bool[]
      %8 = and(%7, %mask): bool[T, S]
      %9 = softmax(%6, %8, over=S): [T, S]
      return %9
    }

After:

    module Demo (form=full, entry=f)

    instance Demo

    function f(scores: [T, S], mask: bool[T, S]) -> (value: [T, S]) {
      %2 = const(value=2.8284271247461903): []
      %3 = div(%scores, %2): [T, S]
      %4 = softmax(%3, %mask, over=S): [T, S]
      return %4
    }

A value is replaced only by one of exactly its type: `x + 0.0` stays when adding makes an int real or x broader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.graph import Graph, Node, Origin, Value
from ..ir.module import Function, Module
from ..ir.ops import ELEMENTWISE_NAMES, OPS, build, constant
from ..ir.primitive import Frame
from .editing import closed, every_function, opened

Number = bool | int | float


@dataclass(frozen=True)
class Fold:
    """Compute constants and drop identities, inside every function."""

    name: str = "fold"

    def run(self, module: Module) -> Module:
        return every_function(module, _fold)


def _fold(function: Function) -> Function:
    graph = opened(function)
    for node in list(graph.nodes()):
        node = graph[node.id]  # its operands may have been replaced since
        if len(node.types) != 1:
            continue
        better = _computed(graph, node) or _simpler(graph, node)
        if better is not None and better != node.values[0] and graph.type(better) == node.types[0]:
            graph.replace(node.values[0], better)
    return closed(function, graph)


def constant_value(graph: Graph, value: Value) -> Number | None:
    """The number that fills a value, seen through `expand` and `rename`; None when it is not constant."""
    node = graph[value]
    while node.op in ("expand", "rename"):
        node = graph[node.operands[0]]
    if node.op != "const":
        return None
    number: Number = node["value"]
    return number


def _computed(graph: Graph, node: Node) -> Value | None:
    """An elementwise operation on scalar constants as one constant, on a table and constants as one table; what is not
    finite stays as it is written."""
    if node.op not in ELEMENTWISE_NAMES and node.op != "cast":
        return None
    operands = [graph[v] for v in node.operands]
    type = node.types[0]
    if len(type.axes) > 1 or any(not (o.op == "table" or (o.op == "const" and not o.types[0].axes)) for o in operands):
        return None
    types = tuple(o.types[0] for o in operands)
    frame = Frame({})
    arrays = tuple(OPS[o.op].run((), (), o.types[0], dict(o.attributes), frame) for o in operands)
    if node.op in ("floordiv", "mod") and not np.all(arrays[1]):
        return None
    with np.errstate(all="ignore"):
        result = OPS[node.op].run(arrays, types, type, dict(node.attributes), frame)
    if not np.all(np.isfinite(result)):
        return None
    kind = {"real": float, "int": int, "bool": bool}[type.dtype]
    origin = Origin(maker="fold", parents=(node.origin,))
    if not type.axes:
        return constant(graph, kind(result), origin)
    return build(graph, "table", origin=origin, axis=type.axes[0], values=tuple(map(kind, result)))


def _simpler(graph: Graph, node: Node) -> Value | None:
    """An operand that the node leaves as it is, or None."""
    rule = IDENTITIES.get(node.op)
    return rule(graph, node) if rule else None


def _neutral(number: Number, *sides: int) -> Callable[[Graph, Node], Value | None]:
    """`x + 0`, `0 + x`: an operand on one of `sides` that is `number` leaves the other one."""

    def rule(graph: Graph, node: Node) -> Value | None:
        for side in sides:
            if constant_value(graph, node.operands[side]) == number:
                return node.operands[1 - side]
        return None

    return rule


def _logic(neutral: bool) -> Callable[[Graph, Node], Value | None]:
    """`true and x` is x, `false and x` is false; `or` the other way round. `x and x` is x."""

    def rule(graph: Graph, node: Node) -> Value | None:
        for side in (0, 1):
            value = constant_value(graph, node.operands[side])
            if value is not None:
                return node.operands[1 - side] if value == neutral else node.operands[side]
        return node.operands[0] if node.operands[0] == node.operands[1] else None

    return rule


def _twice(graph: Graph, node: Node) -> Value | None:
    """`not not x` is x, `- - x` is x."""
    inner = graph[node.operands[0]]
    return inner.operands[0] if inner.op == node.op else None


def _where(graph: Graph, node: Node) -> Value | None:
    chosen = constant_value(graph, node.operands[0])
    if chosen is not None:
        return node.operands[1 if chosen else 2]
    return node.operands[1] if node.operands[1] == node.operands[2] else None


def _operand(graph: Graph, node: Node) -> Value | None:
    """Operations that are the identity whenever the type does not change."""
    return node.operands[0]


def _expand(graph: Graph, node: Node) -> Value | None:
    inner = graph[node.operands[0]]
    if inner.op != "expand":
        return node.operands[0]
    return build(graph, "expand", inner.operands[0], origin=node.origin, axes=node["axes"])


def _unmasked(graph: Graph, node: Node) -> Value | None:
    """A mask that is true everywhere masks nothing."""
    if len(node.operands) < 2 or constant_value(graph, node.operands[1]) is not True:
        return None
    return build(graph, node.op, node.operands[0], origin=node.origin, **dict(node.attributes))


def _dropout(graph: Graph, node: Node) -> Value | None:
    return node.operands[0] if node["rate"] == 0 else None


def _nothing_reduced(graph: Graph, node: Node) -> Value | None:
    return node.operands[0] if not node["over"] else None


IDENTITIES: Mapping[str, Callable[[Graph, Node], Value | None]] = {
    "add": _neutral(0, 0, 1),
    "sub": _neutral(0, 1),
    "mul": _neutral(1, 0, 1),
    "div": _neutral(1, 1),
    "pow": _neutral(1, 1),
    "and": _logic(True),
    "or": _logic(False),
    "not": _twice,
    "neg": _twice,
    "where": _where,
    "cast": _operand,
    "rename": lambda graph, node: node.operands[0] if graph.type(node.operands[0]) == node.types[0] else None,
    "expand": _expand,
    "softmax": _unmasked,
    "argmax": _unmasked,
    "top": _unmasked,
    "dropout": _dropout,
    "sum": _nothing_reduced,
    "mean": _nothing_reduced,
    "max": lambda graph, node: _nothing_reduced(graph, node) if len(node.operands) == 1 else _unmasked(graph, node),
    "min": _nothing_reduced,
}
