"""Inputs of a model that a caller may leave out: `forward(tokens: int[B, T], types: int[B, T] = 0)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lang import errors, tree
from ...lang.diagnostics import WeftError
from . import numbers
from .expressions import Evaluator
from .values import Placed, describe

if TYPE_CHECKING:
    from .elaborate import Elaborator

_WORDS = {"int": "a whole number", "real": "a number", "bool": "true or false"}


def input_defaults(
    elaborator: Elaborator, root: Placed, stream: str | None
) -> tuple[tuple[str, bool | int | float], ...]:
    """The inputs of `forward` with a default, and the number that stands for all their entries.

    Raises WeftError: E0604 for a default that is no such number, E0610 for an input that has an axis of open size which
    no needed input has, because its length would be unknown. What is not streamed is read before the stream, so there
    must be a needed input that is not streamed either.
    """
    found: list[tuple[str, bool | int | float]] = []
    parameters = root.methods["forward"].signature.parameters
    for parameter in parameters:
        if parameter.default is None:
            continue
        own = _open(root, parameter)
        needed = [_open(root, p) for p in parameters if p.default is None]
        beside = [axes for axes in needed if (stream in own) == (stream in axes)]
        unknown = next((n for n in own if all(n not in axes for axes in beside)), None)
        if stream is not None and not beside:
            reason = f"it has no axis `{stream}` and would be read before the first token, as no other input is"
            raise WeftError(errors.input_needed(parameter.name, reason, parameter.span))
        if unknown is not None:
            reason = f"no input that must be given says how long its axis `{unknown}` is"
            raise WeftError(errors.input_needed(parameter.name, reason, parameter.span))
        assert isinstance(parameter.type, tree.TensorTypeExpression)
        value = Evaluator(elaborator, root.scope).evaluate(parameter.default)
        number, kind = numbers.number(value), parameter.type.dtype
        wanted = {"int": int, "real": int | float, "bool": bool}[kind]
        if not isinstance(number, wanted) or (kind != "bool" and isinstance(number, bool)):
            raise WeftError(
                errors.parameter_mismatch(parameter.name, _WORDS[kind], describe(value), parameter.default.span)
            )
        assert isinstance(number, bool | int | float)
        found.append((parameter.name, float(number) if kind == "real" else number))
    return tuple(found)


def _open(root: Placed, parameter: tree.Parameter) -> list[str]:
    """The names of the axes of an input that the model does not declare."""
    assert isinstance(parameter.type, tree.TensorTypeExpression)
    names = [a.id for a in parameter.type.axes if isinstance(a, tree.Name)]
    return [n for n in names if not root.scope.find(n, parameter.span)[0]]
