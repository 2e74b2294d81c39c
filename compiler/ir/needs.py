"""What a function needs besides its inputs: ambient values, states and instances outside of its own.

In the IR these are implicit (found by name, site and instance); emitted code must pass them, so emitters ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .graph import Node
from .module import Function, Module, Path, Reference, State


@dataclass(frozen=True)
class Needs:
    """`ambients`: names, in order of first use. `states`: `(path of sites below the function, state)` in order.

    `outside`: instances reached by going up from the function's own instance, in order of first use.
    """

    ambients: tuple[str, ...] = ()
    states: tuple[tuple[Path, State], ...] = ()
    outside: tuple[Reference, ...] = ()


def callees(node: Node) -> tuple[str, ...]:
    """Names of the functions a node runs: one for a call or scan, several for a repeat of layers that differ."""
    if node.op == "call":
        return (node["callee"],)
    if node.op == "repeat":
        return tuple(dict.fromkeys(node["bodies"]))
    return (node["body"],) if node.op == "scan" else ()


def needs(module: Module) -> Mapping[str, Needs]:
    """The needs of every function of a module, callees included."""
    known: dict[str, Needs] = {}
    for name in callees_first(module):
        known[name] = _needs(module.functions[name], known)
    return known


def callees_first(module: Module) -> tuple[str, ...]:
    """Names of all functions, each after those it calls."""
    order: dict[str, None] = {}
    waiting: list[tuple[str, bool]] = [(name, False) for name in reversed(list(module.functions))]
    while waiting:
        name, done = waiting.pop()
        if done:
            order[name] = None
        elif name not in order:
            waiting.append((name, True))
            waiting += [(c, False) for n in module.functions[name].graph.nodes() for c in callees(n) if c not in order]
    return tuple(order)


def _needs(function: Function, known: Mapping[str, Needs]) -> Needs:
    ambients: dict[str, None] = {}
    states: list[tuple[Path, State]] = [((), s) for s in function.states]
    outside: dict[Reference, None] = {}
    for node in function.graph.nodes():
        if node.op == "ambient":
            ambients[node["name"]] = None
        for callee in callees(node):
            ambients |= dict.fromkeys(known[callee].ambients)
        if node.op not in ("call", "repeat"):
            continue
        instance: Reference | None = node["instance"]
        if instance is not None:
            if instance.up:
                outside[instance] = None
            for callee in callees(node):
                for inner in known[callee].outside:
                    seen = inner.seen_from(instance, layer=node.op == "repeat")
                    if seen.up:
                        outside[seen] = None
        if node.op == "call":
            states += [((node["site"], *path), state) for path, state in known[node["callee"]].states]
        else:
            for i, body in enumerate(node["schedule"]):
                inner_states = known[node["bodies"][body]].states
                states += [((node["site"], i, *path), state) for path, state in inner_states]
    return Needs(tuple(ambients), tuple(states), tuple(outside))
