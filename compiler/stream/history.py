"""R3, R6, R7: what is renamed is remembered; the past is looked at under a mask, the future never."""

from __future__ import annotations

from ...lang import errors
from ...lang.axes import Axis, TensorType, union
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ..ir.graph import Node, Value
from ..ir.module import State
from ..ir.reduction import MASKED
from .body import Body
from .encoded import look_at_source, restricted, where_counted
from .positions import history_position, tokens_of
from .refusals import context, made_at, span_of


def rename(body: Body, node: Node) -> tuple[Value, ...]:
    """R3: renaming the stream to its history appends to what is remembered."""
    (operand,) = (body.new[v] for v in node.operands)
    axis, to = body.type(operand).axis(node["axis"]), body.retyped(node["to"])
    if not body.streamed(TensorType((axis,)), (axis.name,)) or body.is_source(axis):
        return (body.copy(node),)
    step = body.derivation.form.step
    if not (body.is_history(to) or (body.is_token(axis) and not step)):
        stream = body.derivation.stream
        raise WeftError(errors.renamed_history(span_of(node), axis.name, to.name, stream, context(body)))
    if not step or body.is_history(axis):
        return (body.copy(node),)
    if body.within_scan:
        raise WeftError(errors.state_in_scan(span_of(node), f"rename({axis.name} -> {to.name})", context(body)))
    return (_remember(body, node, operand, axis, to),)


def _remember(body: Body, node: Node, operand: Value, axis: Axis, to: Axis) -> Value:
    body.remembers = True
    name = body.state_name(node, "history")
    here = body.type(operand)
    at = here.index(axis.name)

    def along(new: Axis) -> TensorType:
        return here.with_axes((*here.axes[:at], new, *here.axes[at + 1 :]))

    past = Axis(to.name, body.derivation.past(body.width))
    before = body.add("state", name=name, type=along(past), origin=node.origin)
    renamed = body.add("rename", operand, axis=axis.name, to=Axis(to.name, axis.size), origin=node.origin)
    after = body.add("append", before, renamed, axis=to.name, to=to, origin=node.origin)
    update, kind = after, "grow"
    if body.width is not None:
        last = Axis(to.name, Size.of(body.width - 1))
        update, kind = body.add("last", after, axis=to.name, to=last, origin=node.origin), "ring"
    width = None if body.width is None else body.width - 1
    body.states.append(State(name, kind, body.type(before), update, to.name, width))
    return after


def look(body: Body, node: Node) -> tuple[Value, ...]:
    """R6 and R7: operations that look along an axis."""
    operands = tuple(body.new[v] for v in node.operands)
    over = _over(node)
    type = TensorType(union(tuple(body.type(v) for v in operands)))
    if node.op == "take":
        type = body.type(operands[0])
    _check_batch(body, node, type, over)
    looked = body.streamed(type, over)
    if not looked:
        return (body.copy(node),)
    if body.is_spare(node):
        return (_masked_reduction(body, node, operands[0], over),)
    whole = body.derivation.one_document and body.is_token(looked[0]) and not _is_encoded_history(body, type, looked[0])
    if whole or any(body.is_source(a) for a in looked):
        return (look_at_source(body, node, operands, type, looked),)
    future = [a for a in looked if body.is_token(a) and not _is_encoded_history(body, type, a)]
    if future:
        refuse = errors.sees_the_future if body.derivation.form.step else errors.mixes_rows
        raise WeftError(refuse(span_of(node), node.op, future[0].name, context(body)))
    history = looked[0]
    if node.op == "mean" and len(looked) == 1:
        raise WeftError(errors.depends_on_length(span_of(node), node.op, history.name, context(body)))
    if node.op not in (*MASKED, "dot", "sum") or len(looked) > 1:
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, history.name, (), context(body)))
    tokens = tuple(a for a in type.axes if body.is_token(a) and a.name != history.name)
    if body.derivation.form.rows and tokens:
        operands = restricted(body, node, operands, tokens[0], history)
    _check_mask(body, node, operands, tokens, history)
    if node.op == "argmax":
        return (_place(body, node, operands, history),)
    return (body.copy(node, *operands),)


def _place(body: Body, node: Node, operands: tuple[Value, ...], history: Axis) -> Value:
    """Where the largest entry stands: a slot of what is remembered is no position where rows or rings begin late."""
    slot = body.copy(node, *operands)
    here = history_position(body, history, node.origin)
    place = body.add("take", here, slot, axis=history.name, origin=node.origin)
    ones = body.add("cast", operands[1], dtype="int", origin=node.origin)
    ones = body.ordered(ones, (*(a for a in body.type(ones).axes if a.name != history.name), history), node.origin)
    some = body.add("gt", body.add("sum", ones, over=(history.name,)), body.constant(0), origin=node.origin)
    return body.ordered(body.add("where", some, place, body.constant(0), origin=node.origin), body.type(slot).axes)


def _over(node: Node) -> tuple[str, ...]:
    over = node["axis"] if node.op == "take" else node["over"]
    return over if isinstance(over, tuple) else (over,)


def _is_encoded_history(body: Body, type: TensorType, axis: Axis) -> bool:
    """Without a stream every token sees all: one of two axes of tokens is looked along, for each entry of the other."""
    if body.derivation.module.stream is not None:
        return False
    return any(body.is_token(a) and a.name != axis.name for a in type.axes)


def _check_mask(
    body: Body, node: Node, operands: tuple[Value, ...], tokens: tuple[Axis, ...], history: Axis
) -> None:
    """R7: in a step, the entries that count must imply position(S) <= position(T); notes how far back they reach."""
    if not body.derivation.form.step:
        return
    implied = where_counted(body, node, operands)
    for token in tokens:
        ahead = implied.bound(tuple(sorted(((history.name, 1), (token.name, -1)))))
        if implied.never or (ahead is not None and ahead <= 0):
            reach = implied.bound(tuple(sorted(((history.name, -1), (token.name, 1)))))
            body.windows.append(None if reach is None else reach + 1)
            return
    masks = operands[1:] if node.op in MASKED else ()
    made = [made_at(body, v) for v in masks]
    names = tuple(a.name for a in tokens)
    raise WeftError(
        errors.history_not_masked(span_of(node), node.op, history.name, names, [s for s in made if s], context(body))
    )


# ------------------------------------------------------------------ across rows


def _check_batch(body: Body, node: Node, type: TensorType, over: tuple[str, ...]) -> None:
    if not body.derivation.form.rows or body.is_spare(node) or node.op == "take":
        return
    batch = body.batch().size
    mixed = [n for n in over if type.has(n) and type.axis(n).size == batch]
    if mixed:
        raise WeftError(errors.mixes_rows(span_of(node), node.op, mixed[0], context(body)))


def _masked_reduction(body: Body, node: Node, operand: Value, over: tuple[str, ...]) -> Value:
    """A penalty's sum or mean over tokens that leaves padding out."""
    if node.op not in ("sum", "mean"):
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, over[0], (), context(body)))
    type = body.type(operand)
    tokens = [a for a in type.axes if a.name in over and (body.is_token(a) or body.is_source(a))]
    if len(tokens) != 1:
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, over[0], (), context(body)))
    batch = body.batch()
    segments = tokens_of(body, "segments", "int", tokens[0], node.origin)
    real = body.add("ne", segments, body.constant(0, node.origin), origin=node.origin)
    kept = body.add("where", real, operand, body.zero(type.dtype), origin=node.origin)
    kept = body.ordered(kept, (*(a for a in body.type(kept).axes if not type.has(a.name)), *type.axes))
    if node.op == "sum":
        return body.add("sum", kept, over=over, origin=node.origin)
    inner = tuple(n for n in (batch.name, tokens[0].name) if n in over)
    share = body.add("mean", body.add("cast", real, dtype="real"), over=inner, origin=node.origin)
    mean = body.add("mean", kept, over=over, origin=node.origin)
    return body.add("div", mean, share, origin=node.origin)
