"""The edge between a caller and a callee: axes keep their places and change their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...lang.axes import Axis, TensorType
from ..ir.module import Function
from .body import fresh


@dataclass(frozen=True)
class Crossing:
    """`types`: the callee's new inputs. `into`: per operand, names of the caller -> of the callee; `back`: reversed."""

    types: tuple[TensorType, ...]
    into: tuple[Mapping[str, str], ...]
    back: Mapping[str, str]


def cross(callee: Function, before: Sequence[TensorType], now: Sequence[TensorType]) -> Crossing:
    """Match the operands' new types with a callee, whose inputs agree by position with the types `before`.

    An axis that an operand has gained keeps the name that another operand gives it, else its own if that is free.
    """
    into = [
        dict(zip(outer.names, inner.names, strict=True))
        for outer, (_, inner) in zip(before, callee.inputs, strict=True)
    ]
    shared: dict[str, str] = {}
    for names in into:
        for outer, inner in names.items():
            shared.setdefault(outer, inner)
    used = axis_names(callee)
    types = []
    for names, type in zip(into, now, strict=True):
        for axis in type.axes:
            if axis.name not in names:
                if axis.name not in shared:
                    shared[axis.name] = fresh(axis.name, used)
                    used[shared[axis.name]] = None
                names[axis.name] = shared[axis.name]
        types.append(type.with_axes(tuple(replace(a, name=names[a.name]) for a in type.axes)))
    back: dict[str, str] = {}
    for names in into:
        for outer, inner in names.items():
            back.setdefault(inner, outer)
    return Crossing(tuple(types), tuple(into), back)


def axis_names(function: Function) -> dict[str, None]:
    """Every name of an axis in a function."""
    return {n: None for node in function.graph.nodes() for type in node.types for n in type.names}


def result_names(crossing: Crossing, here: TensorType, there: TensorType) -> dict[str, str]:
    """Names of the callee -> names of the caller for one result, from its old types in both."""
    return {**crossing.back, **dict(zip(there.names, here.names, strict=True))}


def result_type(type: TensorType, names: Mapping[str, str], batch: Axis) -> TensorType:
    """A result in the caller's names; a batch axis that the callee brings in has the caller's name for it."""

    def named(axis: Axis) -> str:
        return names.get(axis.name, batch.name if axis.size == batch.size else axis.name)

    return type.with_axes(tuple(replace(a, name=named(a)) for a in type.axes))
