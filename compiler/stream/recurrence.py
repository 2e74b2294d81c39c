"""R5: a recurrence carries its state from step to step; documents start afresh, padding leaves the state as it is."""

from __future__ import annotations

from dataclasses import replace

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ..ir.control import scan as scan_node
from ..ir.graph import Graph, Node, Origin, Value
from ..ir.module import Function, State
from ..ir.ops import build
from .body import Body, fresh
from .crossing import cross, result_names, result_type
from .facts import NOTHING
from .positions import ambient, tokens_of
from .refusals import context, span_of


def scan(body: Body, node: Node) -> tuple[Value, ...]:
    """The same body over the new tokens, from the state that the step before left."""
    axis: Axis = node["axis"]
    form = body.derivation.form
    streamed = bool(body.streamed(TensorType((axis,)), (axis.name,)))
    carried = streamed and form.step and not body.is_source(axis)
    _check(body, node, axis, streamed)
    count, last = node["states"], node["states"] + node["scanned"]
    operands = [body.new[v] for v in node.operands]
    name, states, outputs = _derived_body(body, node, operands, streamed and form.rows)
    starts = [body.ordered(value, type.axes) for value, type in zip(operands[:count], states, strict=True)]
    scanned, invariant = operands[count:last], operands[last:]
    read = starts
    if carried:
        read = [_carried(body, node, i, start) for i, start in enumerate(starts)]
    if streamed and form.rows:
        mark, how = _mark(body, node, axis)
        name = body.derivation.marked(name, count, node["scanned"], how)
        scanned = [*scanned, mark]
        invariant = [*invariant, *starts] if how == "restart" else invariant
    results = scan_node(body.graph, name, axis, tuple(read), tuple(scanned), tuple(invariant), outputs, node.origin)
    if carried:
        finals = results[len(results) - count :]
        base = len(body.states) - count
        body.states[base:] = [replace(s, update=v) for s, v in zip(body.states[base:], finals, strict=True)]
    return tuple(body.know(value, NOTHING) for value in results)


def _check(body: Body, node: Node, axis: Axis, streamed: bool) -> None:
    if not streamed:
        return
    if not (body.is_token(axis) or body.is_source(axis)):
        raise WeftError(errors.no_streaming_rule(span_of(node), "scan", axis.name, (), context(body)))
    if body.within_scan and body.is_token(axis):
        raise WeftError(errors.state_in_scan(span_of(node), f"scan {axis.name}", context(body)))
    finals = node.values[len(node.types) - node["states"] :]
    if any(body.old.graph.users(v) or v in body.old.graph.outputs for v in finals):
        step = body.derivation.form.step and body.is_token(axis)
        refuse = errors.sees_the_future if step else errors.mixes_rows
        raise WeftError(refuse(span_of(node), "the final state of `scan`", axis.name, context(body)))


def _derived_body(
    body: Body, node: Node, operands: list[Value], rows: bool
) -> tuple[str, list[TensorType], tuple[TensorType, ...]]:
    """The scan's body, its states' types and its outputs' types; a state has the axes that its next value has."""
    axis, count, last = node["axis"], node["states"], node["states"] + node["scanned"]
    old = body.derivation.module.functions[node["body"]]
    before = list(node.types[len(node.types) - count :])
    before += [body.old.graph.type(v).without(axis.name) for v in node.operands[count:last]]
    before += [body.old.graph.type(v) for v in node.operands[last:]]
    states = [t.with_axes(tuple(body.retyped(a) for a in t.axes)) for t in before[:count]]
    states = [_widened(t, tuple(body.type(v).axes)) for t, v in zip(states, operands, strict=False)]
    if rows:
        states = [_widened(t, (body.batch(),)) for t in states]
    here = (*node.types[len(node.types) - count :], *(t.without(axis.name) for t in node.types[: -count or None]))
    while True:
        now = [*states, *(body.type(v).without(axis.name) for v in operands[count:last])]
        now += [body.type(v) for v in operands[last:]]
        crossing = cross(old, before, now)
        nothing, spare = (NOTHING,) * len(now), body.is_spare(node)
        derived = body.derivation.derive(old.name, crossing.types, nothing, spare, True, body.chain)
        outputs = []
        for type, outer, inner in zip(derived.outputs, here, old.output_types, strict=True):
            outputs.append(result_type(type, result_names(crossing, outer, inner), body.batch()))
        wider = [_widened(s, o.axes) for s, o in zip(states, outputs, strict=False)]
        if wider == states:
            name = body.derivation.conforming(derived.name, crossing.types[:count])
            return name, states, (*states, *outputs[count:])
        states = wider


def _widened(type: TensorType, axes: tuple[Axis, ...]) -> TensorType:
    return type.with_axes((*(a for a in axes if not type.has(a.name)), *type.axes))


# ------------------------------------------------------------------ the state between steps


def _carried(body: Body, node: Node, i: int, start: Value) -> Value:
    """The state read from the step before; before the first token it is what the spec starts from."""
    old = body.derivation.module.functions[node["body"]]
    name = fresh(old.inputs[i][0], {s.name: s for s in (*body.old.states, *body.states)})
    type = body.type(start)
    before = body.add("state", name=name, type=type, origin=node.origin)
    number = _number(body.old.graph, node.operands[i])
    body.states.append(State(name, "carry", type, before, initial=number or 0.0))
    if number is not None:
        return before
    first = body.add("eq", _past(body, node.origin), body.constant(0), origin=node.origin)
    return body.ordered(body.add("where", first, start, before, origin=node.origin), type.axes)


def _past(body: Body, origin: Origin) -> Value:
    """How many tokens came before, for every row where rows differ."""
    if not body.derivation.form.rows:
        return ambient(body, "past", TensorType((), "int"), origin)
    derivation = body.derivation

    def count(axis: Axis) -> Value:
        ones = body.add("cast", tokens_of(body, "valid", "bool", axis, origin), dtype="int", origin=origin)
        return body.add("sum", ones, over=(axis.name,), origin=origin)

    total = count(Axis(derivation.history_symbol, derivation.history))
    return body.add("sub", total, count(Axis(derivation.token_symbol, derivation.token)), origin=origin)


def _number(graph: Graph, value: Value) -> float | None:
    """The number that fills a value, or None."""
    node = graph[value]
    while node.op in ("expand", "cast"):
        node = graph[node.operands[0]]
    return float(node["value"]) if node.op == "const" else None


# ------------------------------------------------------------------ rows


def _mark(body: Body, node: Node, axis: Axis) -> tuple[Value, str]:
    """A bool per token: whether it is there (a step), or whether a document begins with it."""
    if body.derivation.form.step and not body.is_source(axis):
        return tokens_of(body, "valid", "bool", axis, node.origin), "hold"
    segments = tokens_of(body, "segments", "int", axis, node.origin)
    earlier = body.add("shift", segments, axis=axis.name, by=1, origin=node.origin)
    return body.add("ne", segments, earlier, origin=node.origin), "restart"


def marked(function: Function, count: int, scanned: int, how: str, batch: Axis) -> Function:
    """The body of a scan with one more slice, `mark`, and what it does.

    hold: where the mark is false the state stays as it is. restart: where the mark is true the state starts afresh,
    from values given after all other inputs.
    """
    taken = dict(function.inputs)
    mark = fresh("mark", taken)
    states, rest = function.inputs[:count], function.inputs[count + scanned :]
    inputs = [*states, *function.inputs[count : count + scanned], (mark, TensorType((batch,), "bool")), *rest]
    starts = [(fresh(f"first_{name}", taken), type) for name, type in states] if how == "restart" else []
    graph = Graph()
    given = {name: build(graph, "input", name=name, type=type) for name, type in (*inputs, *starts)}
    new: dict[Value, Value] = {}

    def choose(then: Value, otherwise: Value, type: TensorType) -> Value:
        chosen = build(graph, "where", given[mark], then, otherwise)
        return chosen if graph.type(chosen).axes == type.axes else build(graph, "expand", chosen, axes=type.axes)

    for node in function.graph.nodes():
        operands = tuple(new[v] for v in node.operands)
        if node.op == "input":
            results: tuple[Value, ...] = (given[node["name"]],)
        else:
            results = graph.add(node.op, operands, node.types, node.origin, **dict(node.attributes))
        new.update(zip(node.values, results, strict=True))
        if node.op == "input" and how == "restart":
            for (name, type), (start, _) in zip(states, starts, strict=True):
                if name == node["name"]:
                    new[node.values[0]] = choose(given[start], given[name], type)
    outputs = [new[v] for v in function.graph.outputs]
    if how == "hold":
        outputs[:count] = [choose(v, given[name], type) for v, (name, type) in zip(outputs, states, strict=False)]
    graph.outputs = tuple(outputs)
    return replace(function, graph=graph, inputs=(*inputs, *starts))
