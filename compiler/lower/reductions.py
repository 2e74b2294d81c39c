"""Contractions and reductions as a spec calls them, with or without a mask.

Masked entries count as absent; a row without any gives 0. A mask is the second operand of the primitives that know
masks, and is spelled out in primitives for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...lang import errors, tree
from ...lang.axes import union
from ...lang.diagnostics import Label, WeftError
from ...lang.source import Span
from .kernel import Arguments, Given, kernel, need_axis
from .values import Tensor

if TYPE_CHECKING:
    from .expressions import Evaluator

# The logarithm of the sum over no entries: so low that its exponential is 0, and a number in every precision but f16.
NOTHING = -1e30


def _sum_where(evaluator: Evaluator, x: Tensor, over: tuple[str, ...], mask: Tensor, span: Span) -> Tensor:
    """The sum of the entries that the mask keeps. What is masked may be anything, also infinite."""
    body = evaluator.building(span)
    zero = body.constant(0 if x.type.dtype == "int" else 0.0, span)
    kept = body.op("where", (mask, x, zero), span)
    axes = union((x.type, mask.type))  # their order, as in every masked reduction
    if kept.type.axes != axes:
        kept = body.op("expand", (kept,), span, axes=axes)
    return body.op("sum", (kept,), span, over=over)


def _mean_where(evaluator: Evaluator, x: Tensor, over: tuple[str, ...], mask: Tensor, span: Span) -> Tensor:
    """The sum of the entries that the mask keeps by their number."""
    body = evaluator.building(span)
    total = _sum_where(evaluator, evaluator.as_real(x), over, mask, span)
    axes = (*mask.type.axes, *(x.type.axis(n) for n in over if not mask.type.has(n)))
    counted = mask if mask.type.axes == axes else body.op("expand", (mask,), span, axes=axes)
    count = body.op("sum", (body.op("cast", (counted,), span, dtype="real"),), span, over=over)
    return body.op("div", (total, body.op("maximum", (count, body.constant(1.0, span)), span)), span)


def _min_where(evaluator: Evaluator, x: Tensor, over: tuple[str, ...], mask: Tensor, span: Span) -> Tensor:
    body = evaluator.building(span)
    top = body.op("max", (body.op("neg", (x,), span), mask), span, over=over)
    return body.op("neg", (top,), span)


def _log_of_sum(evaluator: Evaluator, x: Tensor, over: tuple[str, ...], mask: Tensor | None, span: Span) -> Tensor:
    """`log(sum(exp(x)))` without overflow. No entry that is masked is exponentiated: gradients stay finite."""
    body = evaluator.building(span)
    if mask is None:
        top = body.op("max", (x,), span, over=over)
        total = body.op("sum", (body.op("exp", (body.op("sub", (x, top), span),), span),), span, over=over)
        return body.op("add", (top, body.op("log", (total,), span)), span)
    top = body.op("max", (x, mask), span, over=over)
    height = body.op("where", (mask, body.op("sub", (x, top), span), body.constant(0.0, span)), span)
    total = _sum_where(evaluator, body.op("exp", (height,), span), over, mask, span)
    some = body.op("gt", (total, body.constant(0.0, span)), span)
    safe = body.op("where", (some, total, body.constant(1.0, span)), span)
    base = body.op("where", (some, top, body.constant(NOTHING, span)), span)
    return body.op("add", (base, body.op("log", (safe,), span)), span)


# ------------------------------------------------------------------ their arguments


def _need_bool(mask: Tensor, name: str) -> Tensor:
    """The mask of a reduction. Raises WeftError (E0302) for numbers."""
    if mask.type.dtype != "bool":
        label = Label(mask.span, f"this is {mask.type}")
        raise WeftError(errors.wrong_dtype(f"the mask of `{name}` is a bool", mask.span, (label,), ""))
    return mask


def _axes_where(evaluator: Evaluator, arguments: Arguments) -> tuple[tuple[str, ...], Tensor | None, bool]:
    """The axes that are left, the mask behind the last of them, and whether `..` is among them."""
    names: tuple[str, ...] = ()
    rest = False
    while True:
        given = arguments.next("an axis")
        arguments.at = given.span
        here, mask = given.tree, None
        if isinstance(here, tree.Where):
            mask = _need_bool(evaluator.as_tensor(Given(None, here.mask, None, here.mask.span)), arguments.name)
            here = here.value
        rest = rest or isinstance(here, tree.Rest)
        names += evaluator.axis_names(Given(None, here, given.value, given.span))
        if mask is not None or not arguments.positional:
            return tuple(dict.fromkeys(names)), mask, rest


def _reduction(name: str, masked: Callable[..., Tensor]) -> None:
    @kernel(f"{name}(x, K)")
    def run(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
        x = arguments.tensor()
        at = arguments.positional[0].span if arguments.positional else span
        over, mask, rest = _axes_where(evaluator, arguments)
        if rest:  # `..` may stand for axes that this operand lacks
            over = tuple(n for n in over if x.type.has(n))
        need_axis(x, over, at)
        if mask is not None:
            return masked(evaluator, x, over, mask, span)
        return evaluator.building(span).op(name, (x,), span, over=over) if over else x


def _with_mask(op: str) -> Callable[..., Tensor]:
    """A primitive that takes the mask as its second operand."""

    def run(evaluator: Evaluator, x: Tensor, over: tuple[str, ...], mask: Tensor, span: Span) -> Tensor:
        return evaluator.building(span).op(op, (x, mask), span, over=over)

    return run


_reduction("sum", _sum_where)
_reduction("mean", _mean_where)
_reduction("max", _with_mask("max"))
_reduction("min", _min_where)


def _along_one(name: str) -> Callable[[Evaluator, Arguments, Tensor], tuple[tuple[Tensor, ...], str]]:
    """The operands and the axis of what runs along one axis."""

    def read(evaluator: Evaluator, arguments: Arguments, x: Tensor) -> tuple[tuple[Tensor, ...], str]:
        over, mask, _ = _axes_where(evaluator, arguments)
        need_axis(x, over, arguments.at)
        if len(over) != 1:
            raise WeftError(
                errors.wrong_call(f"`{name}` runs along one axis", arguments.at, ("merge the axes first",))
            )
        return ((x,) if mask is None else (x, mask)), over[0]

    return read


@kernel("argmax(x, V)")
def _argmax(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    operands, over = _along_one("argmax")(evaluator, arguments, arguments.tensor())
    return evaluator.building(span).op("argmax", operands, span, over=(over,))


@kernel("softmax(x, S where mask)")
def _softmax(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = evaluator.as_real(arguments.tensor())
    operands, over = _along_one("softmax")(evaluator, arguments, x)
    return evaluator.building(span).op("softmax", operands, span, over=over)


@kernel("logsumexp(x, S where mask)")
def _logsumexp(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = evaluator.as_real(arguments.tensor())
    over, mask, _ = _axes_where(evaluator, arguments)
    need_axis(x, over, arguments.at)
    return _log_of_sum(evaluator, x, over, mask, span)


@kernel("best(x, count, E)")
def _best(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = arguments.tensor()
    count = arguments.whole("count")
    operands, over = _along_one("best")(evaluator, arguments, x)
    return evaluator.building(span).op("top", operands, span, over=over, count=count)


# ------------------------------------------------------------------ products, the best few, running sums


@kernel("dot(a, b, K)")
def _dot(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    a, b = arguments.tensor(), arguments.tensor()
    at = arguments.positional[0].span if arguments.positional else span
    over = arguments.remaining_axes()
    for name in over:
        if not (a.type.has(name) and b.type.has(name)):
            both = [n for n in a.type.names if b.type.has(n)]
            help = f"did you mean `{both[-1]}`? Both operands have it." if both else "the operands share no axis"
            labels = tuple(Label(t.span, f"this is {t.type}") for t in (a, b) if t.span != at)
            raise WeftError(
                errors.not_an_axis(f"`{name}` is not an axis of both operands", at, labels, help, "contracted here")
            )
    a, b = evaluator.same_dtype((a, b), span)
    return evaluator.building(span).op("dot", (a, b), span, over=over)


@kernel("cumsum(x, K)")
def _cumsum(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axis = arguments.tensor(), arguments.one_axis()
    need_axis(x, (axis,), arguments.at)
    return evaluator.building(span).op("cumsum", (x,), span, axis=axis)
