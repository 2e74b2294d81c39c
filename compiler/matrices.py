"""Which parameters are matrices: contracted with activations, never looked up, added or used as a scale."""

from __future__ import annotations

from collections.abc import Mapping

from .ir.graph import Graph, Value
from .ir.module import Module, Path, Reference, join
from .ir.needs import callees, callees_first

_SAME = frozenset(("rename", "split", "merge", "cast", "expand", "select", "slice"))
"""Operations that only rearrange their operand."""

Uses = Mapping[str, tuple[frozenset[str], ...]]


def matrices(module: Module) -> frozenset[str]:
    """Paths of the parameters that a `dot` contracts and that no `take` reads: those that weight decay is for."""
    inputs: dict[str, tuple[frozenset[str], ...]] = {}
    for name in callees_first(module):
        function = module.functions[name]
        inputs[name] = tuple(_uses(function.graph, function.input(i), inputs) for i in range(len(function.inputs)))
    found: dict[str, set[str]] = {}
    visited: set[tuple[str, Path]] = set()
    waiting: list[tuple[str, Path]] = [(module.entry, ())]
    while waiting:
        name, path = waiting.pop()
        if (name, path) in visited:
            continue
        visited.add((name, path))
        graph = module.functions[name].graph
        for node in graph.nodes():
            if node.op == "param":
                found.setdefault(join((*path, node["name"])), set()).update(_uses(graph, Value(node.id), inputs))
            reference: Reference | None = node.get("instance")
            if node.op == "call":
                waiting.append((node["callee"], path if reference is None else reference.resolve(path)))
            elif node.op == "repeat" and reference is not None:
                base = reference.resolve(path)
                waiting += [(node["bodies"][body], (*base, layer)) for layer, body in enumerate(node["schedule"])]
            elif node.op == "scan":
                waiting.append((node["body"], path))
    return frozenset(path for path, uses in found.items() if "dot" in uses and "take" not in uses)


def _uses(graph: Graph, value: Value, inputs: Uses) -> frozenset[str]:
    """The operations that a value reaches, through calls and rearrangements."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        for user, position in graph.users(waiting.pop()):
            node = graph[user]
            if node.op in _SAME:
                waiting.append(Value(user))
            elif node.op in ("call", "repeat", "scan"):
                found.update(*(inputs[callee][position] for callee in callees(node)))
            else:
                found.add(node.op)
    return frozenset(found)
