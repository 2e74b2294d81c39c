"""CSE: equal values of a function become one value, equal functions of the module one function.

Before:

    module Demo (form=full, entry=f)

    instance Demo

    function twice(x: [D:4]) -> (value: [D:4]) {
      %1 = add(%x, %x): [D:4]
      return %1
    }

    function twice.2(x: [D:4]) -> (value: [D:4]) {
      %1 = add(%x, %x): [D:4]
      return %1
    }

    function f(x: [D:4], y: [D:4]) -> (value: [D:4]) {
      %2 = mul(%x, %y): [D:4]
      %3 = mul(%y, %x): [D:4]
      %4 = call(%2, callee=twice, instance=none, site=a): [D:4]
      %5 = call(%3, callee=twice.2, instance=none, site=b): [D:4]
      %6 = sub(%4, %5): [D:4]
      return %6
    }

After:

    module Demo (form=full, entry=f)

    instance Demo

    function twice(x: [D:4]) -> (value: [D:4]) {
      %1 = add(%x, %x): [D:4]
      return %1
    }

    function f(x: [D:4], y: [D:4]) -> (value: [D:4]) {
      %2 = mul(%x, %y): [D:4]
      %3 = call(%2, callee=twice, instance=none, site=a): [D:4]
      %4 = sub(%3, %3): [D:4]
      return %4
    }

Calls that keep states or draw dropout are never merged: each has its own state and its own noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ir.equality import form
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module
from ..ir.needs import callees, callees_first
from ..ir.ops import OPS
from .editing import every_function, holding
from .rebuild import again, rebuild, rename_functions


@dataclass(frozen=True)
class Merge:
    """Merge equal values and equal functions."""

    name: str = "cse"

    def run(self, module: Module) -> Module:
        module = _merge_functions(module)
        private = holding(module, "state", "dropout")
        return every_function(module, lambda function: _merge_values(function, private))


def _merge_functions(module: Module) -> Module:
    """One function for those that are alike in everything but their name; callees are compared first."""
    alike: dict[Any, str] = {}
    names: dict[str, str] = {}
    for name in callees_first(module):
        names[name] = alike.setdefault(form(module.functions[name], names), name)
    if all(name == kept for name, kept in names.items()):
        return module
    first: dict[str, str] = {}
    for name in module.functions:
        first.setdefault(names[name], name)
    return rename_functions(module, {name: first[kept] for name, kept in names.items()})


def _merge_values(function: Function, private: frozenset[str]) -> Function:
    known: dict[Any, tuple[Value, ...]] = {}

    def change(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        key = _key(node, operands, private)
        if key is None or key not in known:
            results = again(graph, node, operands)
            if key is not None:
                known[key] = results
            return results
        return known[key]

    return rebuild(function, change)


def _key(node: Node, operands: tuple[Value, ...], private: frozenset[str]) -> Any:
    """Nodes with the same key have the same values; None for a node that is like no other."""
    if node.op == "dropout" or not private.isdisjoint(callees(node)):
        return None
    if node.op in OPS and OPS[node.op].commutative:
        operands = tuple(sorted(operands))
    sited = node.op in ("call", "repeat")
    attributes = tuple((k, v) for k, v in node.attributes if not (sited and k == "site"))
    return node.op, operands, attributes, node.types
