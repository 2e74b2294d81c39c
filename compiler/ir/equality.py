"""When two functions or modules are the same, whatever the numbers of their nodes and their origins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .graph import Node
from .module import Function, Module
from .order import numbers, ordered

RUNS = ("callee", "bodies", "body")  # attributes that name functions


def same(left: Module, right: Module) -> bool:
    """Whether two modules have the same structure: instances, functions, entry, streams and form."""
    facts = [
        (m.name, m.entry, m.root, m.stream, m.form, m.batch, m.sequence, m.encoder, m.defaults, m.target)
        for m in (left, right)
    ]
    if facts[0] != facts[1] or left.functions.keys() != right.functions.keys():
        return False
    return all(form(function) == form(right.functions[name]) for name, function in left.functions.items())


def form(function: Function, known: Mapping[str, str] | None = None) -> Any:
    """What makes a function what it is, its own name left out, as a value that can be compared and hashed.

    `known` maps names of functions that it runs to the names that stand for them.
    """
    names = known or {}
    number = numbers(function)
    nodes = tuple(
        (n.op, tuple((number[v.node], v.index) for v in n.operands), _attributes(n, names), n.types)
        for n in ordered(function)
    )
    states = tuple(
        (
            s.name, s.kind, s.type, (number[s.update.node], s.update.index), s.axis, s.width,
            names.get(s.initial, s.initial) if isinstance(s.initial, str) else s.initial,
        )
        for s in function.states
    )
    outputs = tuple((number[v.node], v.index) for v in function.graph.outputs)
    facts = (function.block, function.method, function.definition, function.statics)
    return function.inputs, function.outputs, facts, states, nodes, outputs


def _attributes(node: Node, names: Mapping[str, str]) -> Any:
    return tuple((key, renamed(value, names) if key in RUNS else value) for key, value in node.attributes)


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The name of a function, or several of them, under other names."""
    return tuple(names.get(n, n) for n in value) if isinstance(value, tuple) else names.get(value, value)


def install(functions: dict[str, Function], function: Function) -> str:
    """The name of an equal function among `functions`, which gets this one under a free name if there is none."""
    base, number, name = function.name, 1, function.name
    wanted = form(function)
    while name in functions:
        if form(functions[name]) == wanted:
            return name
        number += 1
        name = f"{base}.{number}"
    functions[name] = replace(function, name=name)
    return name
