"""What is sure about the entries of a value: how many along an axis can be other than zero, and that none is negative.

A router's shares are zero for all experts but those it takes the best of; a kernel that computes only those is right
only if there can be no more of them. So the number is proved from the graph, through calls and scans, or not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.graph import Graph, Node, Value
from ..ir.module import Module


@dataclass(frozen=True)
class Place:
    """A function at one place where it runs: its inputs are values of the caller, of a scan without the axis it goes
    along."""

    graph: Graph
    given: Mapping[str, tuple[Place, Value, str]]


_KEEPS = ("neg", "abs", "cast", "expand", "sqrt", "floor", "round", "tanh", "sin", "erf")
_POSITIVE = ("softmax", "sigmoid", "exp", "abs", "top", "sqrt", "rsqrt", "index", "position", "size", "cumsum")
_BOTH = ("add", "mul", "div", "minimum", "pow")
_FIRST = (
    "sum", "mean", "max", "min", "expand", "rename", "cast", "split", "merge", "select", "slice", "floor", "round",
)


def at_most(module: Module, graph: Graph, value: Value, axis: str) -> int | None:
    """How many entries of a value along an axis are other than zero at most, for all entries of its other axes.

    None when nothing is sure.
    """
    return _Few(module).count(Place(graph, {}), value, axis)


def never_negative(module: Module, graph: Graph, value: Value) -> bool:
    """Whether no entry of a value can be below zero."""
    return _Few(module).positive(Place(graph, {}), value)


@dataclass(frozen=True)
class _Few:
    module: Module

    def count(self, place: Place, value: Value, axis: str) -> int | None:
        node = place.graph[value]
        if not node.types[value.index].has(axis):
            return 0 if node.op == "const" and not node["value"] else None
        found = self._count(place, node, value, axis)
        size = node.types[value.index].axis(axis).size
        return found if found is not None or not size.is_constant else size.value

    def _count(self, place: Place, node: Node, value: Value, axis: str) -> int | None:
        operands = node.operands
        if node.op == "input":
            return self._outside(place, node, axis)
        if node.op == "top":
            return node["count"] if node["over"] == axis else None
        if node.op in _KEEPS or (node.op == "div" and place.graph.type(operands[0]).has(axis)):
            return self.count(place, operands[0], axis)
        if node.op == "rename":
            return self.count(place, operands[0], node["axis"] if node["to"].name == axis else axis)
        if node.op in ("mul", "and"):
            return _least(self.count(place, v, axis) for v in operands)
        if node.op in ("add", "sub", "or"):
            return _sum(self.count(place, v, axis) for v in operands)
        if node.op == "where":
            return self._where(place, node, axis)
        if node.op in ("gt", "lt", "ne") and _is_zero(place.graph, operands[0 if node.op == "lt" else 1]):
            return self.count(place, operands[1 if node.op == "lt" else 0], axis)
        if node.op in ("call", "scan"):
            inner, result, names = self._inside(place, node, value)
            return self.count(inner, result, names[axis]) if axis in names else None
        return None

    def _where(self, place: Place, node: Node, axis: str) -> int | None:
        """Where nothing stands on the other side, no more than the condition holds for, and no more than there are."""
        condition, then, otherwise = node.operands
        if _is_zero(place.graph, otherwise):
            return _least(self.count(place, v, axis) for v in (condition, then))
        return _sum(self.count(place, v, axis) for v in (then, otherwise))

    def positive(self, place: Place, value: Value) -> bool:
        node = place.graph[value]
        operands = node.operands
        if node.types[value.index].dtype == "bool" or node.op in _POSITIVE:
            return node.op != "cumsum" or self.positive(place, operands[0])
        if node.op == "const":
            return bool(node["value"] >= 0)
        if node.op == "table":
            return all(v >= 0 for v in node["values"])
        if node.op == "input":
            found = place.given.get(node["name"])
            return found is not None and self.positive(*found[:2])
        if node.op == "mul" and operands[0] == operands[1]:
            return True
        if node.op in _BOTH:
            return all(self.positive(place, v) for v in operands)
        if node.op == "maximum":
            return any(self.positive(place, v) for v in operands)
        if node.op == "where":
            return all(self.positive(place, v) for v in operands[1:])
        if node.op in _FIRST:
            return self.positive(place, operands[0])
        if node.op in ("call", "scan"):
            inner, result, _ = self._inside(place, node, value)
            return self.positive(inner, result)
        return False

    # -------------------------------------------------------------- other functions

    def _outside(self, place: Place, node: Node, axis: str) -> int | None:
        """An input is what the caller gives, whose axes stand in the same order."""
        if node["name"] not in place.given:
            return None
        outer, value, gone = place.given[node["name"]]
        names = [n for n in outer.graph.type(value).names if n != gone]
        here = node.types[0].names
        return self.count(outer, value, names[here.index(axis)]) if len(names) == len(here) else None

    def _inside(self, place: Place, node: Node, value: Value) -> tuple[Place, Value, dict[str, str]]:
        """The result of a call, or what a scan yields, in the function that makes it: axes there by those here."""
        function = self.module.functions[node["callee" if node.op == "call" else "body"]]
        count = node["states"] if node.op == "scan" else 0
        at = value.index
        yields = len(node.types) - count
        number = at if node.op == "call" else count + at if at < yields else at - yields
        axis = node["axis"].name if node.op == "scan" else ""
        given = {
            name: (place, operand, axis if i < count + node["scanned"] else "") if axis else (place, operand, "")
            for i, ((name, _), operand) in enumerate(zip(function.inputs, node.operands, strict=True))
            if i >= count  # what a scan carries changes on the way
        }
        result = function.graph.outputs[number]
        here = node.types[at].names
        if at < yields:
            here = tuple(n for n in here if n != axis)
        there = function.graph.type(result).names
        names = dict(zip(here, there, strict=True)) if len(here) == len(there) else {}
        return Place(function.graph, given), result, names


def _is_zero(graph: Graph, value: Value) -> bool:
    node = graph[value]
    while node.op in ("expand", "cast"):
        node = graph[node.operands[0]]
    return node.op == "const" and not node["value"]


def _least(counts: Iterable[int | None]) -> int | None:
    return min((c for c in counts if c is not None), default=None)


def _sum(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    known = [c for c in found if c is not None]
    return sum(known) if len(known) == len(found) else None
