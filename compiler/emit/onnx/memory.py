"""Primitives of time: what came before is put in front, and the newest entries are kept."""

from __future__ import annotations

import numpy as np

from ....lang.axes import Axis, TensorType
from .layout import Tensor, Writer
from .scope import END, ints


def shift(w: Writer, x: Tensor, before: Tensor | None, axis: str, by: int, result: TensorType) -> Tensor:
    """x delayed by some steps; what came before is zero, or the remembered steps. A negative delay looks ahead."""
    if by < 0:
        wide, i = _padded(w, x, axis, 0, -by)
        return Tensor(result, wide.groups, w.emit("Slice", wide.operand, ints(-by), END, ints(i)))
    wide, i = _preceded(w, x, before, axis, by)
    return Tensor(result, wide.groups, w.emit("Slice", wide.operand, ints(0), ints(-by), ints(i)))


def delays(w: Writer, x: Tensor, before: Tensor | None, axis: str, to: Axis, result: TensorType) -> Tensor:
    """The last entries of an axis at each of its entries, gathered by number."""
    wide, i = _preceded(w, x, before, axis, to.size.value - 1)
    count = w.sizes.scalar(x.type.axis(axis).size)
    here = w.emit("Range", np.array(0, np.int64), count, np.array(1, np.int64))
    places = w.emit("Add", w.emit("Unsqueeze", here, ints(1)), np.arange(to.size.value)[None])
    groups = (*wide.groups[: i + 1], (to.name,), *wide.groups[i + 1 :])
    return Tensor(result, groups, w.emit("Gather", wide.operand, places, axis=i))


def _preceded(w: Writer, x: Tensor, before: Tensor | None, axis: str, count: int) -> tuple[Tensor, int]:
    """x behind the remembered steps, or behind zeros, and the dimension of the axis, which it has to itself."""
    if before is None:
        return _padded(w, x, axis, count, 0)
    wide = joined(w, before, w.fill(x, (axis,)), axis, x.type.axis(axis), x.type)
    return wide, wide.groups.index((axis,))


def _padded(w: Writer, x: Tensor, axis: str, front: int, back: int) -> tuple[Tensor, int]:
    x = w.apart(w.fill(x, (axis,)), axis)
    i = x.groups.index((axis,))
    pads = [0] * (2 * len(x.groups))
    pads[i], pads[len(x.groups) + i] = front, back
    return Tensor(x.type, x.groups, w.emit("Pad", x.operand, ints(*pads))), i


def joined(w: Writer, before: Tensor, x: Tensor, axis: str, to: Axis, result: TensorType) -> Tensor:
    """What was remembered, then what is new, in the layout of the memory: a cache is never transposed."""
    before, x = w.fill(before, x.axes), w.fill(x, before.axes)
    before = w.apart(before, axis)
    x = w.arrange(x, before.groups)
    i = before.groups.index((axis,))
    wire = w.emit("Concat", before.operand, x.operand, axis=i)
    return Tensor(result, tuple((to.name,) if g == (axis,) else g for g in before.groups), wire)


def last(w: Writer, x: Tensor, axis: str, to: Axis, result: TensorType) -> Tensor:
    """The last entries of an axis, as many as `to` says (fewer if there are fewer)."""
    x = w.apart(w.fill(x, (axis,)), axis)
    i = x.groups.index((axis,))
    start = ints(-to.size.value) if to.size.is_constant else w.emit("Neg", w.sizes.vector(to.size))
    groups = tuple(tuple(to.name if n == axis else n for n in g) for g in x.groups)
    return Tensor(result, groups, w.emit("Slice", x.operand, start, END, ints(i)))
