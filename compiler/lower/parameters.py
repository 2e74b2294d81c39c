"""Static arguments as their parameters want them: sizes, numbers, lists, initialisers, and what fills a slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.axes import Axis
from ...lang.diagnostics import Label, WeftError
from ...lang.sizes import Size
from ...lang.source import Span
from ..ir.module import Init
from . import limits, lists, numbers
from .values import Component, FnValue, MethodValue, Pack, Placed, describe

if TYPE_CHECKING:
    from .elaborate import Elaborator


def positive(elaborator: Elaborator, what: str, size: Size, span: Span) -> Size:
    """The size itself, when it is at least 1 and not absurd (or not known yet)."""
    if not size.is_constant:
        return size
    if size.fraction.denominator != 1 or size.fraction < 1:
        raise WeftError(errors.not_positive(what, str(size), span))
    if size.value > limits.AXIS:
        raise WeftError(errors.too_large(f"{what} = {size.value:_}", f"{limits.AXIS:_}", span))
    return size


KINDS = ("dim", "dims", "int", "real", "bool", "string", *lists.KINDS, "Init")
"""The kinds of static parameters; every other kind is an interface."""


def typed(
    elaborator: Elaborator, unit: Any, parameter: tree.Parameter, kind: str | None, value: Any, span: Span
) -> Any:
    """A static argument as its parameter wants it. Raises a diagnostic when it does not fit."""
    name = parameter.name

    def refuse(wanted: str) -> WeftError:
        return WeftError(errors.parameter_mismatch(name, wanted, describe(value), span))

    if kind is None:
        if isinstance(parameter.default, tree.Number | tree.Boolean | tree.Binary | tree.Call | tree.Unary):
            static = numbers.number(value)
            wanted = parameter.default.value if isinstance(parameter.default, tree.Number | tree.Boolean) else 1.0
            if isinstance(wanted, bool) != isinstance(static, bool) or static is None:
                raise refuse("true or false" if isinstance(wanted, bool) else "a number")
            return static
        if isinstance(parameter.default, tree.Tuple) and lists.entries(value) is None:
            raise refuse("a list")
        return value
    if kind == "dim":
        if isinstance(value, Axis):
            positive(elaborator, f"`{name}`", value.size, span)
            return value
        size = numbers.size(value)
        if size is None:
            raise refuse("a size")
        return Axis(name, positive(elaborator, f"`{name}`", size, span))
    if kind == "dims":
        axes = value.axes if isinstance(value, Pack) else value if isinstance(value, tuple) else (value,)
        for axis in axes:
            if not isinstance(axis, Axis):
                size = numbers.size(axis)
                if size is not None:
                    shown = span.text if len(axes) == 1 else str(size)
                    raise WeftError(errors.nameless_axis(shown, span))
                raise refuse("an axis, or several in parentheses")
        return Pack(tuple(axes))
    if kind in _SCALARS:
        return _scalar(elaborator, kind, value, refuse)
    if kind in lists.KINDS:
        entries = None if isinstance(value, str) else lists.entries(value)
        one, many = _SCALARS[lists.KINDS[kind]]
        if entries is None:
            raise refuse(f"a list of {many}: `(a, b)`, or `(a,)` for one entry")
        elaborator.burn(span, len(entries))
        for place, entry in enumerate(entries):
            if not _fits(elaborator, lists.KINDS[kind], entry):
                raise WeftError(errors.parameter_mismatch(f"{name}[{place}]", one, describe(entry), span))
        return tuple(_scalar(elaborator, lists.KINDS[kind], e, refuse) for e in entries)
    if kind == "Init":
        if not isinstance(value, Init):
            raise refuse("an initialiser, such as `normal(std = 0.02)`")
        return value
    return _interface(elaborator, unit, parameter, kind, value, span)


_SCALARS = {
    "int": ("a whole number", "whole numbers"), "real": ("a number", "numbers"),
    "bool": ("true or false", "bools"), "string": ("a text", "texts"),
}  # fmt: skip


def _fits(elaborator: Elaborator, kind: str, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str)
    static = numbers.number(value)
    if elaborator.symbolic and isinstance(static, Size):
        return True
    if kind == "bool" or isinstance(static, bool):
        return kind == "bool" and isinstance(static, bool)
    return isinstance(static, int if kind == "int" else int | float)


def _scalar(elaborator: Elaborator, kind: str, value: Any, refuse: Callable[[str], WeftError]) -> Any:
    """A number, bool or text as a parameter of this kind holds it."""
    if not _fits(elaborator, kind, value):
        raise refuse(_SCALARS[kind][0])
    if kind == "string":
        return value
    static = numbers.number(value)
    return float(static) if kind == "real" and isinstance(static, int) else static


def _interface(elaborator: Elaborator, unit: Any, parameter: tree.Parameter, kind: str, value: Any, span: Span) -> Any:
    found = unit.find(kind)
    assert parameter.type is not None
    if found is None or not isinstance(found[1], tree.Interface):
        known = [n for n in unit.names() if isinstance(unit.find(n)[1], tree.Interface)]
        raise WeftError(errors.unknown_name(kind, [*KINDS, *known], parameter.type.span))
    for method in found[1].methods:
        reason = unmet(method, value)
        if reason:
            declared = Label(parameter.span, f"`{parameter.name}` is declared here")
            raise WeftError(errors.interface_unmet(kind, parameter.name, reason, span, declared))
    return value


def unmet(method: tree.InterfaceMethod, value: Any) -> str | None:
    """Why a value does not offer a method of an interface, or None when it does."""
    if isinstance(value, FnValue):
        if method.name != "forward":
            return f"a function has no method `{method.name}`"
        bound = {n for n, _ in value.bound}
        signature: tree.Signature | None = value.declaration.signature
        free = [p for p in value.declaration.signature.parameters if p.name not in bound]
        unbound = [p.name for p in free if isinstance(p.type, tree.NamedType) and p.default is None]
        if unbound:
            name = value.declaration.name
            return f"`{name}` still needs `{unbound[0]}`: write `{name}({unbound[0]} = ..)`"
        taken = sum(1 for p in free if not isinstance(p.type, tree.NamedType))
    elif isinstance(value, Component | Placed):
        members = value.declaration.members if isinstance(value, Component) else tuple(value.methods.values())
        signature = next((m.signature for m in members if isinstance(m, tree.Method) and m.name == method.name), None)
        if signature is None:
            return f"it has no method `{method.name}`"
        taken = len(signature.parameters)
    elif isinstance(value, MethodValue):
        taken = len(value.owner.methods[value.name].signature.parameters)
    else:
        return f"this is {describe(value)}"
    wanted = len(method.signature.parameters)
    return None if taken == wanted else f"`{method.name}` takes {wanted} arguments, this takes {taken}"
