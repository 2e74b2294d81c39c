"""Copying the body of a function into another graph, where its axes have other names and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from .graph import Graph, Node, Origin, Value
from .module import Function
from .ops import CONTROL, build

# Attributes whose texts are names of axes; axes and types are recognised as such wherever they stand.
NAMES = ("over", "axis", "axes")

Control = Callable[[Graph, Node, tuple[Value, ...]], tuple[Value, ...]]


@dataclass(frozen=True)
class AxisMap:
    """What the axes of a body become.

    `names` maps names to names, `rests` names that stand for several axes (`..`) to those, `sizes` symbols to sizes.
    An axis that is not mapped keeps its name; sizes follow `sizes` either way.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    rests: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)
    sizes: Mapping[str, Size] = field(default_factory=dict)

    def axis(self, axis: Axis) -> tuple[Axis, ...]:
        """The axes that stand for one axis."""
        if axis.name in self.rests:
            return self.rests[axis.name]
        return (Axis(self.names.get(axis.name, axis.name), axis.size.substitute(self.sizes)),)

    def called(self, name: str) -> tuple[str, ...]:
        """The names that stand for one name."""
        if name in self.rests:
            return tuple(a.name for a in self.rests[name])
        return (self.names.get(name, name),)

    def type(self, type: TensorType) -> TensorType:
        return type.with_axes(tuple(b for a in type.axes for b in self.axis(a)))

    def attributes(self, node: Node) -> dict[str, Any]:
        """The attributes of a node under the map."""
        return {key: self.value(value, key in NAMES) for key, value in node.attributes}

    def value(self, value: Any, named: bool) -> Any:
        """One value; `named` says that texts in it are names of axes. One `..` becomes several items of a tuple."""
        if isinstance(value, TensorType):
            return self.type(value)
        if isinstance(value, tuple):
            return tuple(part for item in value for part in self._parts(item, named))
        if isinstance(value, Axis) or (named and isinstance(value, str)):
            parts = self._parts(value, named)
            return parts[0] if len(parts) == 1 else parts
        return value

    def _parts(self, item: Any, named: bool) -> tuple[Any, ...]:
        if isinstance(item, Axis):
            return self.axis(item)
        return self.called(item) if named and isinstance(item, str) else (self.value(item, named),)


def splice(
    graph: Graph, function: Function, operands: tuple[Value, ...], axes: AxisMap, origin: Callable[[Node], Origin],
    control: Control, special: tuple[str, ...] = CONTROL,
) -> tuple[Value, ...]:
    """Add the body of `function` to `graph` with its inputs bound to `operands`; returns the values of its outputs.

    Primitives are typed anew from their operands; `control` adds a call, repeat or scan, and may add what else has no
    type of its own (`special`). Raises AxisError when the body does not fit the operands.
    """
    position = {name: i for i, (name, _) in enumerate(function.inputs)}
    became: dict[Value, Value] = {}
    for node in function.graph.nodes():
        if node.op == "input":
            results: tuple[Value, ...] = (operands[position[node["name"]]],)
        else:
            given = tuple(became[v] for v in node.operands)
            if node.op in special:
                results = control(graph, node, given)
            else:
                results = (build(graph, node.op, *given, origin=origin(node), **axes.attributes(node)),)
        became.update(zip(node.values, results, strict=True))
    return tuple(became[v] for v in function.graph.outputs)


def fresh(name: str, taken: set[str]) -> str:
    """`name`, with `_` after it until nothing in `taken` is called so."""
    while name in taken:
        name += "_"
    return name


def free_site(wanted: str, taken: set[str]) -> str:
    """`wanted`, `wanted.2`, ...: the first that is not taken."""
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}.{number}"
    return name
