"""Calls and repeats: the callee is derived for what the caller passes, and stays whole."""

from __future__ import annotations

from collections.abc import Sequence

from ...lang.axes import Axis, TensorType
from ..ir.control import call as call_node
from ..ir.control import repeat as repeat_node
from ..ir.graph import Node, Value
from ..ir.module import Function
from .body import Body
from .crossing import Crossing, cross, result_names, result_type
from .facts import NOTHING, Fact
from .forms import Derived
from .masks import masks
from .positions import allowed


def call(body: Body, node: Node) -> tuple[Value, ...]:
    """R1 for a whole function."""
    old = body.derivation.module.functions[node["callee"]]
    operands = _restricted(body, node, old, [body.new[v] for v in node.operands])
    crossing = _crossing(body, node, old, operands)
    facts = tuple(body.fact(v).renamed(names) for v, names in zip(operands, crossing.into, strict=True))
    derived = _derive(body, node, old, crossing, facts)
    results = _results(body, node, old, crossing, derived)
    types = tuple(type for type, _ in results)
    values = call_node(body.graph, derived.name, tuple(operands), types, node["site"], node["instance"], node.origin)
    for value, fact, (_, names) in zip(values, derived.facts, results, strict=True):
        body.know(value, fact.renamed(names))
    _note(body, operands, types, derived)
    return values


def repeat(body: Body, node: Node) -> tuple[Value, ...]:
    """R1 for layers: what is carried has the same axes before and after every layer."""
    carried = node["carried"]
    old = [body.derivation.module.functions[name] for name in node["bodies"]]
    before = [body.old.graph.type(v) for v in node.operands]
    operands = [body.new[v] for v in node.operands]
    operands[:carried] = [body.canonical(v, t) for v, t in zip(operands[:carried], before[:carried], strict=True)]
    while True:
        crossings = [_crossing(body, node, function, operands) for function in old]
        deriveds = [_derive_layer(body, node, f, c, operands) for f, c in zip(old, crossings, strict=True)]
        results = [_results(body, node, *parts) for parts in zip(old, crossings, deriveds, strict=True)]
        gained = [
            {a.name: a for layer in results for a in layer[i][0].axes if not body.type(operands[i]).has(a.name)}
            for i in range(carried)
        ]
        if not any(gained):
            break
        for i, axes in enumerate(gained):
            operands[i] = body.ordered(operands[i], (*axes.values(), *body.type(operands[i]).axes))
    names = tuple(
        body.derivation.conforming(derived.name, crossing.types[:carried])
        for derived, crossing in zip(deriveds, crossings, strict=True)
    )
    types = (*(body.type(v) for v in operands[:carried]), *(type for type, _ in results[0][carried:]))
    for derived in deriveds:
        _note(body, operands, types, derived)
    return repeat_node(
        body.graph, names, node["schedule"], tuple(operands), types, node["site"], node["instance"],
        carried, node["sums"], node.origin,
    )


def _derive_layer(body: Body, node: Node, old: Function, crossing: Crossing, operands: list[Value]) -> Derived:
    facts = tuple(
        NOTHING if i < node["carried"] else body.fact(v).renamed(names)
        for i, (v, names) in enumerate(zip(operands, crossing.into, strict=True))
    )
    return _derive(body, node, old, crossing, facts)


def _derive(body: Body, node: Node, old: Function, crossing: Crossing, facts: tuple[Fact, ...]) -> Derived:
    chain = (*body.chain, node.origin)
    return body.derivation.derive(old.name, crossing.types, facts, body.is_spare(node), body.within_scan, chain)


def _crossing(body: Body, node: Node, old: Function, operands: Sequence[Value]) -> Crossing:
    before = [body.old.graph.type(v) for v in node.operands]
    return cross(old, before, [body.type(v) for v in operands])


def _results(
    body: Body, node: Node, old: Function, crossing: Crossing, derived: Derived
) -> list[tuple[TensorType, dict[str, str]]]:
    """Each result's type in the caller's names, and the names."""
    found = []
    for type, here, there in zip(derived.outputs, node.types, old.output_types, strict=True):
        names = result_names(crossing, here, there)
        found.append((result_type(type, names, body.batch()), names))
    return found


def _note(body: Body, operands: Sequence[Value], types: Sequence[TensorType], derived: Derived) -> None:
    """What a callee does with the history it is given counts as done here."""
    body.windows += derived.windows
    given = any(body.is_history(a) for v in operands for a in body.type(v).axes)
    body.foreign |= not given and any(body.is_history(a) for type in types for a in type.axes)


def _restricted(body: Body, node: Node, old: Function, operands: list[Value]) -> list[Value]:
    """Where rows differ, what a callee only uses as a mask is restricted here, so that the callee stays as it is."""
    if not body.derivation.form.rows or body.is_spare(node):
        return operands
    for mask in masks(body.derivation.module, old.name):
        pair = _caller_axes(body, old, operands, node, (mask.token, mask.history))
        if pair is None:
            continue
        known = body.fact(operands[mask.input]).true
        if known.never or (pair[0].name, pair[1].name) in known.allowed:
            continue
        own = allowed(body, *pair, node.origin)
        operands[mask.input] = body.add("and", operands[mask.input], own, origin=node.origin)
    return operands


def _caller_axes(
    body: Body, old: Function, operands: Sequence[Value], node: Node, names: tuple[str, str]
) -> tuple[Axis, Axis] | None:
    """The caller's axes that are called `names` in the callee, when an operand has them."""
    found: dict[str, Axis] = {}
    for value, before, (_, inner) in zip(operands, node.operands, old.inputs, strict=True):
        outer = body.old.graph.type(before)
        for here, there in zip(outer.names, inner.names, strict=True):
            found.setdefault(there, body.type(value).axis(here))
    return (found[names[0]], found[names[1]]) if all(n in found for n in names) else None
