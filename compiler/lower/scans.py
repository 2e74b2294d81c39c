"""`scan`: its body becomes a function of the states, of one slice per scanned value, and of what it captures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.diagnostics import WeftError
from ...lang.source import Span
from ..ir.control import scan
from ..ir.graph import Origin
from .body import Body
from .results import conform, declared_type
from .scope import Scope, declared_once
from .values import Tensor

if TYPE_CHECKING:
    from .expressions import Evaluator


def evaluate_scan(evaluator: Evaluator, e: tree.Scan) -> Any:
    """The yields of a scan over all steps (a tuple when it yields several)."""
    outer = evaluator.building(e.span)
    if outer.outer is not None:
        raise WeftError(errors.not_in_scan("another `scan`", e.span))
    axis = evaluator.known_axis(e.axis.id)
    if axis is None or e.axis.id not in outer.known:
        raise WeftError(errors.unknown_name(e.axis.id, tuple(outer.known), e.axis.span))
    body = Body(
        outer.placed, outer.binding, outer=outer, scanned=axis, known=dict(outer.known), symbolic=outer.symbolic
    )
    scope = Scope(evaluator.scope.unit, evaluator.scope)
    inner = evaluator.inside(scope)
    inner.body = body

    initial, types = [], []
    for state in e.states:
        if not isinstance(state.type, tree.TensorTypeExpression):
            raise WeftError(errors.wrong_kind("a name", "the axes of the state, as in `[.., H, K]`", state.type.span))
        type = declared_type(evaluator, state.type, outer)
        start = evaluator.lift(evaluator.evaluate(state.initial), state.initial.span)
        initial.append(conform(evaluator, start, type, (), state.type.span, f"the state `{state.name}`"))
        types.append(type)
        tensor = body.input(state.name, type, state.span)
        body.name(tensor, state.name)
        scope.entries[state.name] = tensor

    declared_once((n, s.span) for s in e.body.statements if isinstance(s, tree.Let) for n in s.names)
    following: dict[str, Tensor] = {}
    yields: list[Tensor] = []
    for statement in e.body.statements:
        if isinstance(statement, tree.Next):
            names = [s.name for s in e.states]
            if statement.name not in names:
                raise WeftError(errors.unknown_name(statement.name, names, statement.span))
            value = inner.lift(inner.evaluate(statement.value), statement.value.span)
            at = names.index(statement.name)
            what = f"the state `{statement.name}`"
            following[statement.name] = conform(inner, value, types[at], (), e.states[at].type.span, what)
        elif isinstance(statement, tree.Yield):
            value = inner.evaluate(statement.value)
            for one in value if isinstance(value, tuple) else (value,):
                yields.append(inner.lift(one, statement.value.span))
        else:
            inner.run(statement)
    if e.body.result is not None:
        raise WeftError(
            errors.wrong_kind("an expression", "`next` or `yield`", e.body.result.span, ("write `yield` before it",))
        )
    for state in e.states:
        if state.name not in following:
            raise WeftError(
                errors.wrong_call(
                    f"the scan never says what `{state.name}` is next",
                    state.span,
                    (f"add `next {state.name} = ..`",),
                    "no `next`",
                )
            )
    if not yields:
        raise WeftError(errors.wrong_kind("a scan without `yield`", "a value", e.span, ("add `yield ..` to its body",)))
    if not body.slices:
        head = Span(e.span.source, e.span.start, e.axis.span.end)
        raise WeftError(
            errors.wrong_call(f"nothing inside this scan has the axis `{axis.name}`", head, (), "nothing to scan")
        )
    for tensor in yields:
        if tensor.type.has(axis.name):
            help = f"a step sees one entry along `{axis.name}`: compute `{tensor.span.text}` before the scan"
            raise WeftError(
                errors.axis_twice(f"what is yielded has the axis `{axis.name}` already", tensor.span, (), help)
            )

    results = [following[s.name] for s in e.states] + yields
    body.graph.outputs = tuple(t.value for t in results)
    count = len(e.states)
    given = dict(body.inputs)
    order = [s.name for s in e.states] + [n for _, n in body.slices] + [n for _, n in body.invariants]
    outputs = tuple(f"next.{s.name}" for s in e.states) + tuple(f"yield.{i}" for i in range(len(yields)))
    label = f"{outer.placed.label}.scan" if outer.placed else "scan"
    name = evaluator.elaborator.add_function(
        label, body, tuple((n, given[n]) for n in order), outputs,
        block=outer.placed.label if outer.placed else "", method="scan", span=e.span,
    )
    values = scan(
        outer.graph, name, axis, tuple(t.value for t in initial), tuple(t.value for t, _ in body.slices),
        tuple(t.value for t, _ in body.invariants), tuple(t.type for t in results), Origin(e.span),
    )
    tensors = tuple(outer.tensor(v, e.span) for v in values[: len(values) - count])
    return tensors[0] if len(tensors) == 1 else tensors


