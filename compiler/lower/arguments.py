"""The arguments of a call by the names of their parameters."""

from __future__ import annotations

from typing import Any

from ...lang import errors, tree
from ...lang.diagnostics import WeftError
from ...lang.source import Span

Given = tuple[str | None, Any, Span]
"""An argument: its name if it is given one, its value, and where it stands."""


def is_tensor(parameter: tree.Parameter) -> bool:
    """Whether a parameter of a fn or method takes a tensor: typed with axes, or without a type and a default."""
    return isinstance(parameter.type, tree.TensorTypeExpression) or (
        parameter.type is None and parameter.default is None
    )


def did_you_mean(name: str, names: list[str]) -> tuple[str, ...]:
    """Help for a name that is not among the parameters."""
    return errors.did_you_mean(name, names) or ((f"it takes {errors.one_of(names, 'and')}",) if names else ())


def assign(
    callee: str, parameters: tuple[tree.Parameter, ...], arguments: list[Given], span: Span, bound: set[str]
) -> dict[str, tuple[Any, Span]]:
    """Arguments by the name of their parameter."""
    free = [p.name for p in parameters if p.name not in bound]
    given: dict[str, tuple[Any, Span]] = {}
    for name, value, at in arguments:
        if name is None:
            if not free:
                raise WeftError(
                    errors.wrong_call(f"`{callee}` takes {len(parameters)} arguments", at, (), "one too many")
                )
            name = free[0]
        if name not in [p.name for p in parameters]:
            help = did_you_mean(name, [p.name for p in parameters])
            raise WeftError(errors.wrong_call(f"`{callee}` has no parameter `{name}`", at, help, "unknown"))
        if name not in free:
            raise WeftError(errors.wrong_call(f"`{name}` is given twice", at, (), "given again"))
        free.remove(name)
        given[name] = (value, at)
    return given
