"""Which values of a function are needed, and how often: what is not needed is not written."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.graph import Node, Value
from ...ir.module import Function, Module
from ...ir.needs import callees
from .masks import structure


def uses(module: Module, function: Function) -> Mapping[Value, int]:
    """How often each value is used by what is needed for the outputs and the next states."""
    count: dict[Value, int] = {}
    for value in (*function.graph.outputs, *(s.update for s in function.states)):
        count[value] = count.get(value, 0) + 1
    for node in reversed(list(function.graph.nodes())):
        if any(v in count for v in node.values) or (node.op in ("call", "repeat") and _remembers(module, node)):
            for value in (node.operands[i] for i in needed(module, function, node)):
                count[value] = count.get(value, 0) + 1
            for value in node.values[:1]:
                count.setdefault(value, 0)
    return count


def needed(module: Module, function: Function, node: Node) -> tuple[int, ...]:
    """The operands that the source of a node will hold: not those that a callee ignores or that a kernel implies."""
    if node.op != "call":
        return tuple(range(len(node.operands)))
    callee = module.functions[node["callee"]]
    live = live_inputs(module, callee)
    return tuple(i for i in range(len(node.operands)) if i in live and not structure(module, function, node, i))


def live_inputs(module: Module, function: Function) -> set[int]:
    """The inputs that matter for the results or the states of a function."""
    count = uses(module, function)
    names = {n["name"] for n in function.graph.nodes() if n.op == "input" and n.values[0] in count}
    return {i for i, (name, _) in enumerate(function.inputs) if name in names}


def _remembers(module: Module, node: Node) -> bool:
    """Whether a callee keeps states, so that it must run even if its results are not needed."""
    waiting = list(callees(node))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        function = module.functions[name]
        if function.states:
            return True
        waiting += [c for n in function.graph.nodes() for c in callees(n)]
    return False
