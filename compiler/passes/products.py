"""Products of values with weights: what passes that store weights in another way look for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...lang.axes import Axis
from ..ir.graph import Node, Value
from ..ir.instances import uses
from ..ir.module import Function, Module, Path, Reference
from ..ir.source import Stored


@dataclass(frozen=True)
class Read:
    """A value that is a parameter as it is: of the function's own instance, or of one that it asks for it."""

    instance: Reference
    name: str
    value: Value

    def path(self, base: Path) -> Path:
        """Where the parameter lies, for a function that runs on the instance at `base`."""
        return (*self.instance.resolve(base), self.name)


@dataclass(frozen=True)
class Product:
    """`dot(x, weight, over)` with a weight that shares no other axis with x and is used for nothing else here.

    `over` are the weight's contracted axes and `columns` its others, both in its own order.
    """

    node: Node
    x: Value
    weight: Read
    over: tuple[Axis, ...]
    columns: tuple[Axis, ...]

    def stored(self, function: Function, *groups: tuple[Axis, ...]) -> Stored:
        """The weight with the axes of each group merged."""
        type = function.graph.type(self.weight.value)
        numbers = tuple(tuple(type.index(a.name) for a in group) for group in groups)
        return Stored(self.weight.instance, self.weight.name, numbers)


def reads(module: Module, function: Function) -> Mapping[Value, Read]:
    """The values of a function that are parameters."""
    found = {}
    for node in function.graph.nodes():
        if node.op == "param":
            found[node.values[0]] = Read(Reference(), node["name"], node.values[0])
        elif node.op == "call" and (name := read_by(module.functions[node["callee"]])) is not None:
            found[node.values[0]] = Read(node["instance"] or Reference(), name, node.values[0])
    return found


def read_by(function: Function) -> str | None:
    """The name of the parameter that a function gives and does nothing else, or None."""
    graph = function.graph
    if function.inputs or function.states or len(graph.outputs) != 1 or graph[graph.outputs[0]].op != "param":
        return None
    name: str = graph[graph.outputs[0]]["name"]
    return name


def products(module: Module, function: Function, shared: bool = False) -> Iterator[Product]:
    """Every product with a weight in a function, in order; `shared`: also of weights that have other uses here."""
    graph, known = function.graph, reads(module, function)
    for node in graph.nodes():
        if node.op != "dot":
            continue
        for at in (0, 1):
            weight, x = node.operands[at], node.operands[1 - at]
            if weight not in known or x in known or (len(graph.users(weight)) != 1 and not shared):
                continue
            type, other = graph.type(weight), graph.type(x)
            over = tuple(a for a in type.axes if a.name in node["over"])
            columns = tuple(a for a in type.axes if a.name not in node["over"])
            if len(over) == len(node["over"]) and not any(other.has(a.name) for a in columns):
                yield Product(node, x, known[weight], over, columns)
                break


def instances_of(module: Module) -> Mapping[str, tuple[Path, ...]]:
    """The instances that each function runs on, by path; layers that are alike are represented by the first."""
    found: dict[str, tuple[Path, ...]] = {}
    for use in uses(module).found:
        found[use.function] = (*found.get(use.function, ()), use.path)
    return found


