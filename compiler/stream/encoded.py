"""Looking along a sequence that is not the stream, where rows differ: at entries of one's own document alone."""

from __future__ import annotations

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ..ir.graph import Node, Value
from ..ir.reduction import MASKED
from .body import Body
from .facts import Implied
from .positions import allowed, present
from .refusals import context, span_of


def look_at_source(
    body: Body, node: Node, operands: tuple[Value, ...], type: TensorType, looked: tuple[Axis, ...]
) -> Value:
    """A reduction over an encoder's axis, without padding.

    Attention sees, from each token or each entry of the encoder, those of its own document. What has nothing to look
    from (a mean over the text) would mix documents: only where each row is one document it may.
    """
    axis = looked[0]
    tokens = [a for a in type.axes if (body.is_token(a) or body.is_source(a)) and a.name != axis.name]
    if len(looked) > 1 or node.op not in (*sorted(MASKED - {"argmax"}), "dot", "sum", "mean"):
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, axis.name, (), context(body)))
    if tokens:
        if node.op == "mean":
            raise WeftError(errors.no_streaming_rule(span_of(node), node.op, axis.name, (), context(body)))
        return body.copy(node, *restricted(body, node, operands, tokens[0], axis))
    if not (body.derivation.form.step or body.derivation.one_document):
        raise WeftError(errors.mixes_rows(span_of(node), node.op, axis.name, context(body)))
    there = present(body, axis, node.origin)
    if node.op != "mean":
        return body.copy(node, *_masked(body, node, operands, there, _holding(body, operands, (axis,))))
    (kept,) = _masked(body, node, operands, there, 0)
    total = body.add("sum", kept, over=node["over"], origin=node.origin)
    count = body.add("sum", body.add("cast", there, dtype="real"), over=(axis.name,), origin=node.origin)
    others = [type.axis(n) for n in node["over"] if n != axis.name]
    if others:
        names = tuple(a.name for a in others)
        one = body.ordered(body.constant(1.0), tuple(others))
        count = body.add("mul", count, body.add("sum", one, over=names), origin=node.origin)
    return body.canonical(body.add("div", total, count, origin=node.origin), node.types[0])


def restricted(
    body: Body, node: Node, operands: tuple[Value, ...], token: Axis, history: Axis
) -> tuple[Value, ...]:
    """The operands, so that entries of other documents and padding do not count."""
    pair = (token.name, history.name)
    implied = where_counted(body, node, operands)
    if implied.never or pair in implied.allowed:
        return operands
    own = allowed(body, token, history, node.origin)
    return _masked(body, node, operands, own, _holding(body, operands, (token, history)))


def where_counted(body: Body, node: Node, operands: tuple[Value, ...]) -> Implied:
    """What holds at the entries that count."""
    if node.op in MASKED:
        return body.fact(operands[1]).true if len(operands) == 2 else Implied()
    implied = body.fact(operands[0]).nonzero
    return implied.both(body.fact(operands[1]).nonzero) if node.op == "dot" else implied


def _holding(body: Body, operands: tuple[Value, ...], axes: tuple[Axis, ...]) -> int:
    """Which operand has all of some axes: the first, if none does."""
    return next((i for i, v in enumerate(operands) if all(body.type(v).has(a.name) for a in axes)), 0)


def _masked(
    body: Body, node: Node, operands: tuple[Value, ...], mask: Value, at: int
) -> tuple[Value, ...]:
    """The operands of a reduction that counts what the mask holds: by its own mask, or with zeros elsewhere."""
    if node.op in MASKED:
        both = mask if len(operands) == 1 else body.add("and", operands[1], mask, origin=node.origin)
        return operands[0], both
    kept = body.add("where", mask, operands[at], body.zero(body.type(operands[at]).dtype), origin=node.origin)
    return (*operands[:at], kept, *operands[at + 1 :])
