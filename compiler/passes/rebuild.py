"""Building a function anew, node by node, with some operations or attributes changed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..ir.equality import RUNS, renamed
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module
from ..ir.order import ordered

# What becomes of the results of a node: their values in the new graph, None for one that is gone.
Change = Callable[[Graph, Node, tuple[Value, ...]], tuple[Value | None, ...]]


def rebuild(function: Function, change: Change) -> Function:
    """The function with every node passed through `change(new graph, node, operands there)`; equal nodes merge.

    A node whose operands are gone is gone itself. Outputs and states must not be.
    """
    graph, became = Graph(), dict[Value, Value | None]()
    for node in ordered(function):
        operands = [became[v] for v in node.operands]
        given = tuple(v for v in operands if v is not None)
        results = change(graph, node, given) if len(given) == len(operands) else (None,) * len(node.types)
        became.update(zip(node.values, results, strict=True))
    graph.outputs = tuple(_there(became, v) for v in function.graph.outputs)
    states = tuple(replace(s, update=_there(became, s.update)) for s in function.states)
    return replace(function, graph=graph, states=states)


def _there(became: Mapping[Value, Value | None], value: Value) -> Value:
    found = became[value]
    assert found is not None, f"%{value.node} is needed but gone"
    return found


def again(graph: Graph, node: Node, operands: tuple[Value, ...], **changed: Any) -> tuple[Value, ...]:
    """The same node, with some attributes changed."""
    return graph.add(node.op, operands, node.types, node.origin, **{**dict(node.attributes), **changed})


def rename_functions(module: Module, names: Mapping[str, str]) -> Module:
    """The module with calls sent to other functions; a function that has another name now is left out."""

    def change(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        return again(graph, node, operands, **{k: renamed(v, names) for k, v in node.attributes if k in RUNS})

    functions = {}
    for name, function in module.functions.items():
        if names.get(name, name) == name:
            moved = rebuild(function, change)
            states = tuple(
                replace(s, initial=names.get(s.initial, s.initial)) if isinstance(s.initial, str) else s
                for s in moved.states
            )
            functions[name] = replace(moved, states=states)
    entry, encoder = (names.get(name, name) for name in (module.entry, module.encoder))
    return replace(module, functions=functions, entry=entry, encoder=encoder)
