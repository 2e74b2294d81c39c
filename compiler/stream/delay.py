"""R4: what looks a fixed number of tokens back remembers as many."""

from __future__ import annotations

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ..ir.graph import Node, Value
from ..ir.module import State
from .body import Body, fresh
from .positions import tokens_of
from .refusals import context, span_of


def delay(body: Body, node: Node) -> tuple[Value, ...]:
    """R4: a step reads the last tokens of the step before; across documents there is nothing to read."""
    (x,) = (body.new[v] for v in node.operands)
    axis, by = body.type(x).axis(node["axis"]), _reach(node)
    if not body.streamed(TensorType((axis,)), (axis.name,)):
        return (body.copy(node),)
    source = body.is_source(axis)
    if by is None or not (source or body.is_token(axis)):
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, axis.name, (), context(body)))
    if source or not body.derivation.form.step:
        return (_within_document(body, node, x),)
    if by < 0:
        raise WeftError(errors.sees_the_future(span_of(node), node.op, axis.name, context(body)))
    if by == 0:
        return (body.copy(node),)
    if body.within_scan:
        raise WeftError(errors.state_in_scan(span_of(node), f"{node.op}({axis.name})", context(body)))
    if body.derivation.form.rows and not body.type(x).has(body.batch().name):
        x = body.ordered(x, (body.batch(), *body.type(x).axes))
    type = body.type(x)
    name = body.state_name(node, "delayed")
    kept = Axis(axis.name, Size.of(by))
    at = type.index(axis.name)
    before = body.add("state", name=name, type=type.with_axes(_put(type, at, kept)), origin=node.origin)
    whole = Axis(axis.name, axis.size + Size.of(by))
    joined = body.add("append", before, x, axis=axis.name, to=whole, origin=node.origin)
    if body.derivation.form.rows:
        result, update = _of_valid(body, node, joined, type, axis, by)
    else:
        result = body.copy(node, x, before)
        update = body.add("last", joined, axis=axis.name, to=kept, origin=node.origin)
    body.states.append(State(name, "delay", body.type(before), update, axis.name, by))
    return (result,)


def _reach(node: Node) -> int | None:
    """How many tokens back an operation looks at most; less than 0 when it looks ahead."""
    if node.op == "shift":
        by: int = node["by"]
        return by
    width: Size = node["to"].size
    return width.value - 1 if width.is_constant else None


def _put(type: TensorType, at: int, axis: Axis) -> tuple[Axis, ...]:
    return (*type.axes[:at], axis, *type.axes[at + 1 :])


def _within_document(body: Body, node: Node, x: Value) -> Value:
    """The delayed value where it is of the same document, else zero."""
    type = body.type(x)
    segments = tokens_of(body, "segments", "int", type.axis(node["axis"]), node.origin)
    same = body.add("eq", segments, body.copy(node, segments), origin=node.origin)
    moved = body.copy(node, x)
    kept = body.add("where", same, moved, body.zero(type.dtype), origin=node.origin)
    return body.canonical(kept, body.type(moved))


def _of_valid(
    body: Body, node: Node, joined: Value, type: TensorType, axis: Axis, by: int
) -> tuple[Value, Value]:
    """The delayed value and the tokens to keep, when padding stands before or after a row's tokens in this step.

    `joined` holds the `by` tokens before this step and those of this step, of which the first `lead` are padding and
    `count` are not. Without the padding, token t stands at t - lead after those kept from before.
    """
    batch = body.batch()
    valid = tokens_of(body, "valid", "bool", axis, node.origin)
    ones = body.add("cast", valid, dtype="int", origin=node.origin)
    count = body.add("sum", ones, over=(axis.name,), origin=node.origin)
    seen = body.add("cumsum", ones, axis=axis.name, origin=node.origin)
    none = body.add("cast", body.add("eq", seen, body.constant(0)), dtype="int", origin=node.origin)
    lead = body.add("sum", none, over=(axis.name,), origin=node.origin)

    def gather(wanted: Value, to: Axis, *more: Axis) -> Value:
        """Entry `wanted` of `joined` without its padding, for every row."""
        skipped = body.add("add", wanted, lead, origin=node.origin)
        inside = body.add("lt", wanted, body.constant(by), origin=node.origin)
        slot = body.add("where", inside, wanted, skipped, origin=node.origin)
        place = Axis(fresh("slot", type.names), to.size)
        slot = body.ordered(slot, (batch, to, *more))
        named = body.add("rename", slot, axis=to.name, to=place, origin=node.origin)
        taken = body.add("take", joined, named, axis=axis.name, origin=node.origin)
        named = body.add("rename", taken, axis=place.name, to=to, origin=node.origin)
        return body.ordered(named, (*_put(type, type.index(axis.name), to), *more))

    slots = body.add("sub", body.add("index", axis=axis, origin=node.origin), lead, origin=node.origin)
    if node.op == "delays":
        width = body.retyped(node["to"])
        result = gather(body.add("add", slots, body.add("index", axis=width), origin=node.origin), axis, width)
    else:
        result = gather(slots, axis)
    kept = Axis(axis.name, Size.of(by))
    update = gather(body.add("add", body.add("index", axis=kept), count, origin=node.origin), kept)
    return result, update
