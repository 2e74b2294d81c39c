"""Results of functions that nobody uses: which they are, and the module without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby

from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module
from ..ir.needs import callees, callees_first
from ..ir.order import reachable
from .editing import is_composite
from .rebuild import again, rebuild

Kept = Mapping[str, tuple[int, ...]]  # the outputs of each function that stay; a function that is not there goes


def used_results(module: Module) -> Kept:
    """The outputs of every function that the entry and the encoder need, seen from the callers down."""
    used = {name: set(range(len(module.functions[name].outputs))) for name in module.entries}
    for function in (module.functions[name] for name in reachable(module)):
        for state in function.states:
            if isinstance(state.initial, str):
                used[state.initial] = set(range(len(module.functions[state.initial].outputs)))
    shared = _shared(module)
    for name in reversed(callees_first(module)):
        if name not in used:
            continue
        function = module.functions[name]
        if is_composite(function):
            used[name] = set(range(len(function.outputs)))
        needed = {function.graph.outputs[i] for i in used[name]} | {s.update for s in function.states}
        for node in reversed(list(function.graph.nodes())):
            wanted = {v.index for v in node.values if v in needed}
            if not wanted and node.values:  # one without results runs for what it remembers
                continue
            needed |= set(node.operands)
            if not shared.isdisjoint(callees(node)):
                wanted = set(range(len(node.types)))
            for callee in callees(node):
                used.setdefault(callee, set()).update(_outputs(module.functions[callee], node, wanted))
    return {name: tuple(sorted(outputs)) for name, outputs in used.items()}


def _shared(module: Module) -> frozenset[str]:
    """Bodies of a repeat that something else runs too: they keep all outputs, so that bodies of one repeat agree."""
    users: dict[str, int] = {}
    bodies: set[str] = set()
    for function in module.functions.values():
        for node in function.graph.nodes():
            for callee in callees(node):
                users[callee] = users.get(callee, 0) + 1
            if node.op == "repeat":
                bodies |= set(callees(node))
    return frozenset(name for name in bodies if users[name] > 1)


def _outputs(callee: Function, node: Node, wanted: set[int]) -> set[int]:
    """The outputs of the callee behind the wanted results of a node; what is carried from layer to layer stays."""
    if node.op == "call":
        return wanted
    if node.op == "repeat":
        return wanted | set(range(node["carried"]))
    return set(range(len(callee.outputs)))


def drop_results(module: Module, kept: Kept) -> Module:
    """The module with only the kept outputs of every function; calls have that many results less."""

    def reduced(function: Function) -> Function:
        stays = kept[function.name]
        graph = function.graph.copy()
        graph.outputs = (*(graph.outputs[i] for i in stays), *(s.update for s in function.states))
        graph.sweep()
        graph.outputs = graph.outputs[: len(stays)]
        names = tuple(function.outputs[i] for i in stays)
        names = names if names == function.outputs else _names(names)
        return rebuild(replace(function, graph=graph, outputs=names), change)

    def change(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value | None, ...]:
        if node.op not in ("call", "repeat"):
            return again(graph, node, operands)
        stays = kept[callees(node)[0]]
        if len(stays) == len(node.types):
            return again(graph, node, operands)
        less = replace(node, types=tuple(node.types[i] for i in stays))
        changed = {"sums": sum(i >= node["carried"] for i in stays)} if node.op == "repeat" else {}
        results = again(graph, less, operands, **changed)
        return tuple(results[stays.index(i)] if i in stays else None for i in range(len(node.types)))

    functions = {name: reduced(function) for name, function in module.functions.items() if name in kept}
    return replace(module, functions=functions)


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Output names after some are gone: `value`, or `value.0`, `value.1`, ...; then the penalties."""
    parts = {penalty: list(group) for penalty, group in groupby(names, lambda n: n.startswith("penalty."))}
    values = parts.get(False, [])
    numbered = ["value"] if len(values) == 1 else [f"value.{i}" for i in range(len(values))]
    return (*numbered, *parts.get(True, []))
