"""Finds the experts that a router chooses among, and the share of them that one token needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from .ir.graph import Node
from .ir.instances import find, uses
from .ir.module import Instance, Layers, Module, count_parameters

# (function, call site) -> share
Shares = Mapping[tuple[str, str], Fraction]


def expert_shares(module: Module) -> Shares:
    """The calls that run experts: `top / E` for a `stack E` in a method that takes the best `top` along E."""
    return {(function, node["site"]): share for function, node, _, share in _found(module)}


def active_parameters(module: Module) -> int:
    """Learned values that one token meets: all of them, but of experts only as many as its router chooses."""
    return _active(module.root, {id(instance): share for _, _, instance, share in _found(module)})


def _active(child: Instance | Layers, shares: Mapping[int, Fraction]) -> int:
    if isinstance(child, Layers):
        counts = [_active(body, shares) for body in child.bodies]
        return sum(counts[body] for body in child.schedule)
    if id(child) in shares:
        return int(count_parameters(child) * shares[id(child)])
    own = count_parameters(Instance(child.block, child.parameters))
    return own + sum(_active(inner, shares) for _, inner in child.children)


def _found(module: Module) -> Iterator[tuple[str, Node, Instance, Fraction]]:
    """(function, call, expert, share) of every call of experts."""
    known: dict[str, Mapping[str, Fraction]] = {}
    for use in uses(module).found:
        chosen = _chosen(module, use.function, known)
        for node in module.functions[use.function].graph.nodes() if chosen else ():
            if node.op != "call" or node["instance"] is None:
                continue
            instance = find(module, node["instance"].resolve(use.path))
            if isinstance(instance, Instance):
                for axis in instance.stack:
                    if axis.name in chosen:
                        yield use.function, node, instance, chosen[axis.name]


def _chosen(module: Module, name: str, known: dict[str, Mapping[str, Fraction]]) -> Mapping[str, Fraction]:
    """Axis -> the share of it that `top` keeps, in a function or in one that it calls, such as a router's."""
    if name not in known:
        graph, shares = module.functions[name].graph, dict[str, Fraction]()
        for node in graph.nodes():
            if node.op == "top":
                axis = graph.type(node.operands[0]).axis(node["over"])
                if axis.size.is_constant:
                    shares[axis.name] = Fraction(node["count"], axis.size.value)
            elif node.op == "call":
                within = _chosen(module, node["callee"], known)
                called = module.functions[node["callee"]].graph
                for inside, outside in zip(called.outputs, node.types, strict=True) if within else ():
                    names = zip(called.type(inside).names, outside.names, strict=True)
                    shares.update({there: within[here] for here, there in names if here in within})
        known[name] = shares
    return known[name]
