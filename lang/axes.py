"""Named axes and tensor types: names are types, sizes are polynomials, nothing is left of them at run time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .sizes import Size

DTYPES = ("real", "int", "bool")


@dataclass(frozen=True)
class Axis:
    """An axis: its name where it is used, and its size. The size's symbol is its identity across calls."""

    name: str
    size: Size

    def __str__(self) -> str:
        size = str(self.size)
        return self.name if size == self.name else f"{self.name}:{size.replace(' ', '')}"


@dataclass(frozen=True)
class TensorType:
    """An ordered list of axes (a tensor has each name once) and `real`, `int` or `bool`."""

    axes: tuple[Axis, ...]
    dtype: str = "real"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.axes)

    def has(self, name: str) -> bool:
        return any(a.name == name for a in self.axes)

    def axis(self, name: str) -> Axis:
        return next(a for a in self.axes if a.name == name)

    def index(self, name: str) -> int:
        return self.names.index(name)

    def without(self, *names: str) -> TensorType:
        return replace(self, axes=tuple(a for a in self.axes if a.name not in names))

    def with_axes(self, axes: tuple[Axis, ...]) -> TensorType:
        return replace(self, axes=axes)

    def with_dtype(self, dtype: str) -> TensorType:
        return replace(self, dtype=dtype)

    def __str__(self) -> str:
        dtype = "" if self.dtype == "real" else self.dtype
        return f"{dtype}[{', '.join(map(str, self.axes))}]"


class AxisError(ValueError):
    """Types that do not fit an operation. `kind` picks the diagnostic; `operands` are those to point at."""

    def __init__(self, kind: str, message: str, operands: tuple[int, ...] = (), help: str = "") -> None:
        self.kind, self.message, self.operands, self.help = kind, message, operands, help
        super().__init__(message)


def union(types: tuple[TensorType, ...]) -> tuple[Axis, ...]:
    """The axes of an elementwise result: those of the operand with the most axes (the first of several) in its order,
    then what it lacks, first seen first; equal names must have equal sizes."""
    axes: list[Axis] = []
    owner: dict[str, int] = {}
    for position, type in enumerate(types):
        for axis in type.axes:
            if axis.name not in owner:
                owner[axis.name] = position
                axes.append(axis)
                continue
            known = next(a for a in axes if a.name == axis.name)
            if known.size != axis.size:
                raise AxisError(
                    "size",
                    f"axis `{axis.name}` is {known.size} in one operand and {axis.size} in the other",
                    (owner[axis.name], position),
                )
    broadest = max(types, key=lambda t: len(t.axes), default=TensorType(()))
    return (*broadest.axes, *(a for a in axes if not broadest.has(a.name)))
