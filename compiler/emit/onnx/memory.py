"""Primitives of time: what came before is put in front, and the newest entries are kept."""

from __future__ import annotations

from dataclasses import replace

from ....lang.axes import Axis, TensorType
from .layout import Tensor, Writer
from .scope import END, ints


def shift(w: Writer, x: Tensor, before: Tensor | None, axis: str, by: int, result: TensorType) -> Tensor:
    """x delayed by some steps; what came before is zero, or the remembered steps."""
    x = w.fill(x, (axis,))
    if before is None:
        x = w.apart(x, axis)
        i = x.groups.index((axis,))
        pads = [0] * (2 * len(x.groups))
        pads[i] = by
        wide = Tensor(result, x.groups, w.emit("Pad", x.operand, ints(*pads)))
    else:
        by = before.type.axis(axis).size.value
        wide = joined(w, before, x, axis, x.type.axis(axis), result)
        i = wide.groups.index((axis,))
    return replace(wide, wire=w.emit("Slice", wide.operand, ints(0), ints(-by), ints(i)))


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
