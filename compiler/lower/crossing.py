"""Types across a call: inwards in the names of the signature, outwards in those of the caller."""

from __future__ import annotations

from typing import Any

from ...lang import errors, tree
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import Label, WeftError
from ...lang.source import Span
from .body import Undecided
from .scope import Scope
from .signature import Binding, Mismatch, bind, introduced_names
from .values import Pack, Placed, Tensor

REORDERED = (
    "the argument has that axis in another place: a result has the axes of its operand with the most axes, then the\n"
    "others as they are first met; swap the operands, or use a fn with a declared result, which puts them in its order"
)


def inward(
    symbolic: bool, declaration: tree.Fn | tree.Method, parameters: list[tree.Parameter], tensors: list[Tensor],
    owner: Placed | None, label: str, scope: Scope, span: Span,
) -> tuple[Binding, tuple[TensorType, ...]]:
    """What the axes of a signature stand for in a call, and the types of the arguments in its names."""
    fixed: dict[str, Axis] = {}
    packs: dict[str, tuple[Axis, ...]] = {}
    here: Scope | None = scope
    while here is not None:
        for name in here.entries:
            value = here.find(name, span)[1] if not _busy(here.entries[name]) else None
            if isinstance(value, Axis):
                fixed.setdefault(name, Axis(name, value.size))
            elif isinstance(value, Pack):
                packs.setdefault(name, value.axes)
        here = here.parent
    stacked = tuple(a.name for a in owner.stack) if owner else ()
    types = tuple(_declared(p) for p in parameters)
    try:
        names, given_types = tuple(p.name for p in parameters), tuple(t.type for t in tensors)
        return bind(types, names, given_types, fixed, packs, stacked, introduced_names(declaration.body))
    except Mismatch as error:
        if symbolic and error.wanted is not None:
            raise Undecided from error
        labels = (Label(parameters[error.position].span, "declared here"),)
        given = tensors[error.position]
        message = error.message
        if error.wanted is not None and error.given is not None:
            wanted = owner.actual.get(error.wanted.name, error.wanted.name) if owner else error.wanted.name
            found = error.given
            size = f"of size {found.size}" if found.size.is_constant else "of open size"
            message = f"`{label}` takes an axis `{wanted}` of size {error.wanted.size} here"
            message += f", this has `{found.name}` {size}"
            if given.type.has(wanted) and given.type.axis(wanted).size == error.wanted.size:
                last = _last_axes(types[error.position], packs, owner)
                more = next((n for n in reversed(given.type.names[-len(last) :]) if last and n not in last), None)
                error.help = REORDERED if more is None else (
                    f"`{label}` takes the axes {', '.join(last)} at the end, and `{more}` is one more: perhaps an\n"
                    f"operand of this value should have {', '.join(last)} in its place"
                )
        raise WeftError(
            errors.argument_mismatch(message, str(given.type), given.span, labels, error.help)
        ) from error


def _last_axes(
    declared: tree.TensorTypeExpression | None, packs: dict[str, tuple[Axis, ...]], owner: Placed | None
) -> tuple[str, ...]:
    """The axes that a declaration names last, in the names of the caller."""
    names: list[str] = []
    for entry in declared.axes if declared else ():
        if isinstance(entry, tree.Rest):
            names.clear()
        elif isinstance(entry, tree.Pack):
            names += [a.name for a in packs.get(entry.name, ())]
        elif isinstance(entry, tree.Name):
            names += [a.name for a in packs[entry.id]] if entry.id in packs else [entry.id]
    return tuple((owner.actual.get(n) if owner else None) or n for n in names)


def outward(type: TensorType, binding: Binding, owner: Placed | None, span: Span) -> TensorType:
    """A local type in the caller's names."""
    axes: list[Axis] = []
    for axis in type.axes:
        name = binding.actual.get(axis.name) or (owner.actual.get(axis.name) if owner else None) or axis.name
        if any(a.name == name for a in axes):
            help = "give one of the axes another name where the block is declared: `dim E = D`"
            raise WeftError(errors.axis_twice(f"the result would have the axis `{name}` twice", span, (), help))
        axes.append(Axis(name, axis.size))
    return TensorType(tuple(axes), type.dtype)


def _busy(entry: Any) -> bool:
    return getattr(entry, "state", "done") == "running"


def _declared(parameter: tree.Parameter) -> tree.TensorTypeExpression | None:
    """The declared axes of a parameter that takes a tensor; a number in a template has none."""
    if isinstance(parameter.type, tree.NamedType):
        return tree.TensorTypeExpression(parameter.type.name, (), span=parameter.type.span)
    return parameter.type
