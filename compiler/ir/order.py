"""The order of a function's nodes as they are read, and which functions a function runs."""

from __future__ import annotations

from collections.abc import Mapping

from .graph import Node
from .module import Function, Module
from .needs import callees


def ordered(function: Function) -> tuple[Node, ...]:
    """Inputs in the order of the signature, then every other node after its operands."""
    rank = {name: i for i, (name, _) in enumerate(function.inputs)}

    def place(node: Node) -> int:
        return rank.get(node["name"], len(rank)) if node.op == "input" else len(rank)

    return tuple(sorted(function.graph.nodes(), key=place))


def numbers(function: Function) -> Mapping[int, int]:
    """The number of every node in that order: how printed text and messages speak of nodes."""
    return {node.id: i for i, node in enumerate(ordered(function))}


def circle(module: Module) -> tuple[str, ...]:
    """Functions that call each other in a circle, in order, or ()."""
    done: set[str] = set()
    for start in module.functions:
        path: list[str] = []
        waiting: list[tuple[str, bool]] = [(start, False)]
        while waiting:
            name, leaving = waiting.pop()
            if leaving:
                path.pop()
                done.add(name)
            elif name in path:
                return (*path[path.index(name) :], name)
            elif name not in done and name in module.functions:
                path.append(name)
                waiting.append((name, True))
                waiting += [(c, False) for c in reversed(called(module.functions[name]))]
    return ()


def called(function: Function) -> tuple[str, ...]:
    """Names of the functions that a function runs or starts its states with, each once, in order of first use."""
    found: dict[str, None] = {}
    for node in function.graph.nodes():
        found |= dict.fromkeys(callees(node))
    found |= {s.initial: None for s in function.states if isinstance(s.initial, str)}
    return tuple(found)


def reading_order(module: Module) -> tuple[str, ...]:
    """All functions, each after those it runs, as far as those exist and do not run each other."""
    order: dict[str, None] = {}
    seen: set[str] = set()
    waiting: list[tuple[str, bool]] = [(name, False) for name in reversed(list(module.functions))]
    while waiting:
        name, leaving = waiting.pop()
        if leaving:
            order[name] = None
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(c, False) for c in reversed(called(module.functions[name])) if c in module.functions]
    return tuple(order)


def reachable(module: Module) -> tuple[str, ...]:
    """The functions that the entry and the encoder run, themselves included, in the order of the module."""
    found = set(module.entries)
    waiting = list(module.entries)
    while waiting:
        for name in called(module.functions[waiting.pop()]):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return tuple(name for name in module.functions if name in found)
