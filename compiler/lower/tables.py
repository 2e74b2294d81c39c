"""Static lists as a spec uses them: how long they are, what is in them, and their numbers as a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lang import errors
from ...lang.axes import Axis
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ...lang.source import Span
from .kernel import Arguments, kernel
from .lists import alike, entries
from .numbers import number
from .values import Tensor, describe

if TYPE_CHECKING:
    from .expressions import Evaluator


def _list(evaluator: Evaluator, arguments: Arguments) -> tuple[tuple[Any, ...], Span]:
    given = arguments.next("a list")
    value = evaluator.value_of(given)
    found = entries(value)
    if found is None:
        raise WeftError(errors.wrong_kind(describe(value), "a list", given.span))
    evaluator.elaborator.burn(given.span, len(found))
    return found, given.span


@kernel("length(kinds)")
def _length(evaluator: Evaluator, arguments: Arguments, span: Span) -> int:
    return len(_list(evaluator, arguments)[0])


@kernel("contains(kinds, value)")
def _contains(evaluator: Evaluator, arguments: Arguments, span: Span) -> bool:
    found, given = _list(evaluator, arguments)[0], arguments.next("a value")
    value = evaluator.value_of(given)
    if isinstance(value, Tensor):
        raise WeftError(errors.not_static("what `contains` looks for", given.span))
    return any(alike(value, e) for e in found)


@kernel("place(kinds, value)")
def _place(evaluator: Evaluator, arguments: Arguments, span: Span) -> int:
    """Where a value first stands in a list, from 0; -1 when it does not."""
    found, given = _list(evaluator, arguments)[0], arguments.next("a value")
    value = evaluator.value_of(given)
    if isinstance(value, Tensor):
        raise WeftError(errors.not_static("what `place` looks for", given.span))
    return next((at for at, entry in enumerate(found) if alike(value, entry)), -1)


@kernel("table(numbers, J)")
def _table(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    """A constant tensor: real when one of the numbers is."""
    found, at = _list(evaluator, arguments)
    name = arguments.one_axis()
    axis = evaluator.known_axis(name) or Axis(name, Size.of(len(found)))
    body = evaluator.building(span)
    values = [number(e) for e in found]
    if evaluator.elaborator.symbolic and (axis.size != Size.of(len(found)) or any(isinstance(v, Size) for v in values)):
        return body.op("expand", (body.constant(0.5, span),), span, axes=(axis,))
    for place, value in enumerate(values):
        if isinstance(value, Size):
            raise WeftError(errors.length_unknown(f"entry {place} of the list", at))
        if value is None:
            raise WeftError(errors.wrong_kind(describe(found[place]), "a list of numbers", at))
    if axis.size.is_constant and axis.size != Size.of(len(values)):
        count = "1 entry" if len(values) == 1 else f"{len(values)} entries"
        raise WeftError(errors.sizes_differ(f"the list has {count}, axis `{name}` is {axis.size}", at))
    if not axis.size.is_constant:
        raise WeftError(errors.length_unknown(name, arguments.at))
    if not values:
        raise WeftError(errors.not_positive(f"the size of axis `{name}`", "0", at))
    kinds = {type(v) for v in values}
    if bool in kinds and len(kinds) > 1:
        raise WeftError(errors.wrong_kind("a list of bools and numbers", "a list of numbers", at))
    if float in kinds:
        values = [float(v) for v in values if not isinstance(v, Size | None)]
    return body.op("table", (), span, axis=axis, values=tuple(values))
