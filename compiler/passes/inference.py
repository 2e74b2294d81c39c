"""The program as it is used after training: without penalties and without dropout."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Value
from ..ir.module import Function, Module
from ..ir.order import reachable


def drop_penalties(module: Module) -> Module:
    """Remove side losses and dropout, and what only they needed.

    before   %3, %4 = call MoE.forward(%2)  ->  value, penalty.balance;   %5 = dropout(%3)
    after    %3 = call MoE.forward(%2)      ->  value;                    %3
    """
    functions = {name: _without_penalties(module, function) for name, function in module.functions.items()}
    bare = replace(module, functions=functions)
    return replace(bare, functions={name: functions[name] for name in reachable(bare)})


def _without_penalties(module: Module, function: Function) -> Function:
    graph = Graph()
    new: dict[Value, Value] = {}
    for node in function.graph.nodes():
        if any(v not in new for v in node.operands):
            continue  # a sum of penalties
        operands = tuple(new[v] for v in node.operands)
        types, attributes = node.types, dict(node.attributes)
        if node.op == "dropout":
            new[node.values[0]] = operands[0]
            continue
        if node.op == "call":
            types = types[: len(_values(module.functions[node["callee"]]))]
        elif node.op == "repeat":
            types, attributes["sums"] = types[: node["carried"]], 0
        results = graph.add(node.op, operands, types, node.origin, **attributes)
        new.update(zip(node.values, results, strict=False))
    kept = _values(function)
    graph.outputs = tuple(new[v] for v in function.graph.outputs[: len(kept)])
    states = tuple(replace(s, update=new[s.update]) for s in function.states)
    for update in (s.update for s in states):
        graph.outputs += (update,)
    graph.sweep()
    graph.outputs = graph.outputs[: len(kept)]
    return replace(function, graph=graph, outputs=kept, states=states)


def _values(function: Function) -> tuple[str, ...]:
    """The names of a function's outputs that are no penalties; they come first."""
    return tuple(name for name in function.outputs if not name.startswith("penalty."))
