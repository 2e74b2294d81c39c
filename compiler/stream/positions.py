"""R2: where a token stands, counted from the first token of its row or document."""

from __future__ import annotations

from ...lang.axes import Axis, TensorType
from ..ir.graph import Node, Origin, Value
from . import facts as known
from .body import Body
from .facts import Fact, Implied


def position(body: Body, node: Node) -> tuple[Value, ...]:
    """`position(T)` is past + 0, 1, ...; where rows differ it is given for every row."""
    axis: Axis = body.retyped(node["axis"])
    if not body.streamed(TensorType((axis,)), (axis.name,)):
        value = body.copy(node)
    elif body.is_token(axis) and not body.derivation.form.rows:
        first = ambient(body, "past", TensorType((), "int"), node.origin)
        value = body.add("add", body.add("index", axis=axis, origin=node.origin), first, origin=node.origin)
    else:
        value = history_position(body, axis, node.origin)
    return (body.know(value, known.position(axis.name)),)


def history_position(body: Body, axis: Axis, origin: Origin) -> Value:
    """0, 1, ... up to the last token; a ring begins where its window begins; where rows differ, what is given."""
    if body.derivation.form.rows:
        return tokens_of(body, "positions", "int", axis, origin)
    slot = body.add("index", axis=axis, origin=origin)
    width = body.derivation.widths.get(str(axis.size))
    if width is None:
        return slot
    past = ambient(body, "past", TensorType((), "int"), origin)
    kept = body.add("minimum", past, body.constant(width - 1, origin), origin=origin)
    return body.add("add", slot, body.add("sub", past, kept, origin=origin), origin=origin)


def ambient(body: Body, name: str, type: TensorType, origin: Origin) -> Value:
    return body.add("ambient", name=name, type=type, origin=origin)


def tokens_of(body: Body, name: str, dtype: str, axis: Axis, origin: Origin) -> Value:
    """An ambient value per row and token (`positions`, `segments`, `valid`) along an axis of tokens or of history.

    Other sequences have `positions` and `segments` of their own, in every form of rows.
    """
    batch = body.batch()
    if body.is_source(axis):
        own = f"{body.derivation.sources[str(axis.size)]}_{name}"
        return ambient(body, own, TensorType((batch, axis), dtype), origin)
    if body.is_token(axis):
        return ambient(body, name, TensorType((batch, axis), dtype), origin)
    if body.derivation.form.step:
        return ambient(body, f"history_{name}", TensorType((batch, axis), dtype), origin)
    token = Axis(body.derivation.token_symbol, body.derivation.token)
    here = ambient(body, name, TensorType((batch, token), dtype), origin)
    return body.add("rename", here, axis=token.name, to=axis, origin=origin)


def allowed(body: Body, token: Axis, history: Axis, origin: Origin) -> Value:
    """Whether a token may look at another one at all: one of its own document, and not padding.

    A row of a step is one document, so there what is looked at must only be no padding.
    """
    if body.derivation.form.step:
        value = present(body, history, origin)
        if body.is_source(history):  # nothing else may speak of the token, so this does
            value = body.ordered(value, (body.batch(), token, history), origin)
    else:
        here = tokens_of(body, "segments", "int", token, origin)
        there = tokens_of(body, "segments", "int", history, origin)
        value = body.add("eq", here, there, origin=origin)
    # It speaks of the pair even where it does not depend on the token.
    body.facts[value] = Fact(true=Implied(allowed=((token.name, history.name),)), origin=origin)
    return value


def present(body: Body, axis: Axis, origin: Origin) -> Value:
    """Where an axis holds no padding."""
    if body.derivation.form.step and not body.is_source(axis):
        return tokens_of(body, "valid", "bool", axis, origin)
    return body.add("ne", tokens_of(body, "segments", "int", axis, origin), body.constant(0, origin), origin=origin)
