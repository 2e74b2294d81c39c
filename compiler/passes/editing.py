"""Editing a function without losing its states: while it is open, their updates count as outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir.graph import Graph
from ..ir.module import Function, Module
from ..ir.needs import callees, callees_first


def opened(function: Function) -> Graph:
    """A copy of the body whose outputs are those of the function and then the updates of its states."""
    graph = function.graph.copy()
    graph.outputs = (*graph.outputs, *(s.update for s in function.states))
    return graph


def closed(function: Function, graph: Graph) -> Function:
    """The function with an edited body: states get their updates back, what nothing needs is gone."""
    graph.sweep()
    count = len(function.outputs)
    states = tuple(replace(s, update=v) for s, v in zip(function.states, graph.outputs[count:], strict=True))
    graph.outputs = graph.outputs[:count]
    return replace(function, graph=graph, states=states)


def every_function(module: Module, change: Callable[[Function], Function]) -> Module:
    """The module with every function changed on its own."""
    return replace(module, functions={name: change(f) for name, f in module.functions.items()})


def is_composite(function: Function) -> bool:
    """A fn of the standard library: back ends know it by name, so its calls and its signature stay as they are."""
    return not function.block and function.definition.startswith("weft.")


def holding(module: Module, *ops: str) -> frozenset[str]:
    """Names of the functions that do one of some operations, themselves or in what they run."""
    found: set[str] = set()
    for name in callees_first(module):
        nodes = module.functions[name].graph.nodes()
        if any(n.op in ops or not found.isdisjoint(callees(n)) for n in nodes):
            found.add(name)
    return frozenset(found)
