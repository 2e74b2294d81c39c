"""Declared types inside a function: what they stand for, and how a value is made to have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lang import errors, tree
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.source import Span
from .body import Body
from .values import Pack, Tensor, describe

if TYPE_CHECKING:
    from .expressions import Evaluator


TWICE = "a tensor has each name once: call one of them otherwise"


def declared_type(
    evaluator: Evaluator, type: tree.TensorTypeExpression, body: Body | None, stack: tuple[Axis, ...] = ()
) -> TensorType:
    """The local type that a type expression stands for; axes of a `stack` come first, or after the first `..`."""
    axes: list[Axis] = []
    rests = 0
    at = 0
    for entry in type.axes:
        if isinstance(entry, tree.Rest):
            if body is None:
                raise WeftError(errors.wrong_kind("`..`", "the name of an axis", entry.span))
            axes += body.binding.rests[rests] if rests < len(body.binding.rests) else ()
            rests += 1
            at = len(axes)
            continue
        if isinstance(entry, tree.Pack):
            found, value = evaluator.scope.find(entry.name, entry.span)
            if not found or not isinstance(value, Pack):
                shown = describe(value) if found else f"`{entry.name}`"
                raise WeftError(errors.wrong_kind(shown, "a `dims` parameter", entry.span))
            axes += value.axes
            continue
        if not isinstance(entry, tree.Name):
            raise WeftError(errors.nameless_axis(entry.span.text, entry.span))
        found, value = evaluator.scope.find(entry.id, entry.span)
        axis = body.binding.axes.get(entry.id) if body is not None else None
        if axis is None and found:
            if isinstance(value, Pack):
                axes += value.axes
                continue
            if not isinstance(value, Axis):
                raise WeftError(errors.wrong_kind(describe(value), "an axis", entry.span))
            axis = Axis(entry.id, value.size)
        if axis is None and body is not None:
            axis = body.known.get(entry.id)
        if axis is None:
            raise WeftError(errors.unknown_name(entry.id, evaluator.scope.names(), entry.span))
        axes.append(axis)
    twice = next((a.name for i, a in enumerate(axes) if any(a.name == b.name for b in axes[:i])), None)
    if twice is not None:
        raise WeftError(errors.axis_twice(f"this type has the axis `{twice}` twice", type.span, (), TWICE))
    missing = tuple(s for s in stack if all(a.name != s.name for a in axes))
    return TensorType((*axes[:at], *missing, *axes[at:]), type.dtype)


def conform(
    evaluator: Evaluator,
    tensor: Tensor,
    type: TensorType,
    stacked: tuple[str, ...],
    declaration: Span,
    what: str = "the result",
) -> Tensor:
    """The tensor with exactly the declared type: reordered, repeated, whole numbers made real. Else a diagnostic."""
    body = evaluator.building(tensor.span)
    wanted = tuple(a for a in type.axes if a.name not in stacked or tensor.type.has(a.name))
    target = TensorType(wanted, type.dtype)
    if type.dtype == "real":
        tensor = evaluator.as_real(tensor)
    if tensor.type == target:
        return tensor
    extra = [a for a in tensor.type.axes if not target.has(a.name)]
    differs = [a for a in tensor.type.axes if target.has(a.name) and target.axis(a.name).size != a.size]
    if extra or differs or tensor.type.dtype != target.dtype:
        raise WeftError(errors.result_mismatch(str(tensor.type), str(target), tensor.span, declaration, what))
    return body.op("expand", (tensor,), tensor.span, axes=wanted)
