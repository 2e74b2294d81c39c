"""Inline: calls of chosen functions give way to the bodies of those functions.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      norm: Scale {
        param scale: [C:4] = ones()
      }
    }

    function Scale.forward(x: [D:4]) -> (value: [D:4]) {
      block Scale
      %1 = param(name=scale): [D:4]
      %2 = mul(%x, %1): [D:4]
      return %2
    }

    function Demo.forward(y: [B, C:4]) -> (value: [C:4]) {
      block Demo
      %1 = sum(%y, over=(B,)): [C:4]
      %2 = call(%1, callee=Scale.forward, instance=@norm, site=norm): [C:4]
      return %2
    }

After `Inline(("Scale.forward",))`:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      norm: Scale {
        param scale: [C:4] = ones()
      }
    }

    function Scale.read_scale() -> (value: [D:4]) {
      block Scale
      method read_scale
      %0 = param(name=scale): [D:4]
      return %0
    }

    function Demo.forward(y: [B, C:4]) -> (value: [C:4]) {
      block Demo
      %1 = sum(%y, over=(B,)): [C:4]
      %2 = call(callee=Scale.read_scale, instance=@norm, site=norm.scale): [C:4]
      %3 = mul(%1, %2): [C:4]
      return %3
    }

A parameter stays with its instance: the caller asks for it by a method that reads it. Functions that keep states or
draw dropout are not inlined, because their state and noise belong to the place of the call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ..ir.control import call
from ..ir.equality import install
from ..ir.graph import Graph, Node, Origin, Value
from ..ir.module import Function, Module
from ..ir.needs import callees_first
from ..ir.ops import CONTROL, build
from ..ir.order import reachable
from ..ir.splice import AxisMap, free_site, fresh, splice
from .editing import closed, holding, is_composite, opened


@dataclass(frozen=True)
class Inline:
    """Replace every call of some functions by their bodies. Raises WeftError (E0804) for one that has to stay."""

    functions: tuple[str, ...]
    name: str = "inline"

    def run(self, module: Module) -> Module:
        private = holding(module, "state", "dropout")
        for name in self.functions:
            if name not in module.functions:
                raise WeftError(errors.not_inlinable(name, "the module has no such function", tuple(module.functions)))
            if name in private:
                raise WeftError(errors.not_inlinable(name, "its states or dropout belong to the place of the call"))
        return inlined(module, frozenset(self.functions))


@dataclass(frozen=True)
class Unwrap:
    """Inline methods that only hand their parameters to one composite, so that rules see the composite."""

    name: str = "unwrap"

    def run(self, module: Module) -> Module:
        return inlined(module, frozenset(thin_methods(module)))


def thin_methods(module: Module) -> tuple[str, ...]:
    """Methods whose whole body is one call of a composite on their inputs and parameters (`RMSNorm.forward`)."""
    found = []
    for name, function in module.functions.items():
        rest = [n for n in function.graph.nodes() if n.op not in ("input", "param")]
        if not function.block or len(rest) != 1 or rest[0].op != "call" or function.graph.outputs != rest[0].values:
            continue
        if name not in module.entries and is_composite(module.functions[rest[0]["callee"]]):
            found.append(name)
    return tuple(found)


def inlined(module: Module, chosen: frozenset[str]) -> Module:
    """The module with every call of some functions replaced by their bodies; those that nothing calls any more go."""
    functions = dict(module.functions)
    for name in callees_first(module):
        function = functions[name]
        calls = [n for n in function.graph.nodes() if n.op == "call" and n["callee"] in chosen]
        if not calls:
            continue
        graph = opened(function)
        for node in calls:
            _replace(graph, graph[node.id], functions)
        functions[name] = closed(function, graph)
    result = replace(module, functions=functions)
    there = frozenset(reachable(result))
    return replace(result, functions={n: f for n, f in functions.items() if n in there or n not in chosen})


def _replace(graph: Graph, node: Node, functions: dict[str, Function]) -> None:
    callee = functions[node["callee"]]
    sites = {n["site"] for n in graph.nodes() if n.op in ("call", "repeat")}
    axes, operands = _fitted(graph, node, callee)

    def origin(inner: Node) -> Origin:
        return Origin(inner.origin.span, "inline", (inner.origin, node.origin), inner.origin.name)

    def special(graph: Graph, inner: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        types = tuple(axes.type(t) for t in inner.types)
        if inner.op == "param":
            name = install(functions, _reader(callee, inner))
            site = free_site(f"{node['site']}.{inner['name']}", sites)
            sites.add(site)
            return call(graph, name, (), types, site, node["instance"], origin(inner))
        attributes = axes.attributes(inner)
        if inner.op in ("call", "repeat"):
            attributes["site"] = free_site(f"{node['site']}.{inner['site']}", sites)
            sites.add(attributes["site"])
            if inner["instance"] is not None and node["instance"] is not None:
                attributes["instance"] = inner["instance"].seen_from(node["instance"])
        return graph.add(inner.op, operands, types, origin(inner), **attributes)

    results = splice(graph, callee, operands, axes, origin, special, (*CONTROL, "param"))
    for value, type, result in zip(node.values, node.types, results, strict=True):
        graph.replace(value, _renamed(graph, result, type, node.origin))


def _reader(callee: Function, node: Node) -> Function:
    """The method of the callee's block that gives one of its parameters."""
    method = f"read_{node['name']}"
    graph = Graph()
    graph.outputs = graph.add("param", (), node.types, node.origin, name=node["name"], type=node.types[0])
    return Function(f"{callee.block}.{method}", graph, (), ("value",), callee.block, method, origin=node.origin)


# ------------------------------------------------------------------ names of axes


def _fitted(graph: Graph, node: Node, callee: Function) -> tuple[AxisMap, tuple[Value, ...]]:
    """Names for the callee's axes inside the caller, and the operands under those names.

    The caller's names are taken over by position. Where that would make one axis of two, or two of one, all axes of
    the callee get names of their own and operands are renamed.
    """
    formal = [type for _, type in callee.inputs]
    actual = [graph.type(v) for v in node.operands]
    names: dict[str, str] = {}
    for inner, outer in zip(formal, actual, strict=True):
        for a, b in zip(inner.names, outer.names, strict=True):
            if names.setdefault(a, b) != b:
                return _apart(graph, node, callee)
    if len(set(names.values())) != len(names):
        return _apart(graph, node, callee)
    for inner, outer in zip(callee.output_types, node.types, strict=True):
        for a, b in zip(inner.names, outer.names, strict=True):
            if a not in names and b not in names.values():
                names[a] = b
    taken = set(names.values())
    for name in _axis_names(callee):
        if name not in names:
            names[name] = fresh(name, taken)
            taken.add(names[name])
    return AxisMap(names), node.operands


def _apart(graph: Graph, node: Node, callee: Function) -> tuple[AxisMap, tuple[Value, ...]]:
    taken = {n for other in graph.nodes() for t in other.types for n in t.names}
    names: dict[str, str] = {}
    for name in _axis_names(callee):
        names[name] = fresh(name, taken)
        taken.add(names[name])
    axes = AxisMap(names)
    wanted = (axes.type(type) for _, type in callee.inputs)
    renamed = (_renamed(graph, v, type, node.origin) for v, type in zip(node.operands, wanted, strict=True))
    return axes, tuple(renamed)


def _axis_names(function: Function) -> tuple[str, ...]:
    found = (name for node in function.graph.nodes() for type in node.types for name in type.names)
    return tuple(dict.fromkeys(found))


def _renamed(graph: Graph, value: Value, wanted: TensorType, origin: Origin) -> Value:
    """A value under other names of its axes, in the same order; by way of free names when names change places."""
    before = graph.type(value)
    if before == wanted:
        return value
    taken = {*before.names, *wanted.names}
    steps = [(a, b.name) for a, b in zip(before.axes, wanted.axes, strict=True) if a.name != b.name]
    crossing = {a.name for a, _ in steps} & {b for _, b in steps}
    for axis, name in steps:
        if axis.name in crossing:
            free = fresh(axis.name, taken)
            taken.add(free)
            value = build(graph, "rename", value, origin=origin, axis=axis.name, to=Axis(free, axis.size))
            steps[steps.index((axis, name))] = (Axis(free, axis.size), name)
    for axis, name in steps:
        value = build(graph, "rename", value, origin=origin, axis=axis.name, to=Axis(name, axis.size))
    return value
