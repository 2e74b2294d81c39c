"""Primitives that reduce, choose, gather, cut and join along axes, as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....lang.axes import Axis, TensorType
from ....lang.sizes import Size
from .elementwise import elementwise
from .layout import Group, Groups, Tensor, Writer, common, runs

REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}
LOWEST = np.array(np.finfo(np.float32).min)
END = np.array([np.iinfo(np.int64).max], np.int64)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


# ------------------------------------------------------------------ reductions


def reduce(w: Writer, op: str, x: Tensor, over: tuple[str, ...], result: TensorType) -> Tensor:
    """sum, mean, max or min over axes. Reduced dimensions stay, with length 1."""
    x = w.cast(x, result.dtype)
    if op == "sum":
        x = w.fill(x, over)
    over = tuple(n for n in over if n in x.axes)
    if not over:
        return replace(x, type=result)
    groups = tuple(r for g in x.groups for r in runs(g, lambda a: a in over))
    x = w.arrange(x, groups)
    at = tuple(i for i, g in enumerate(groups) if g and g[0] in over)
    kept = tuple(() if i in at else g for i, g in enumerate(groups))
    return Tensor(result, kept, w.emit(REDUCTIONS[op], x.operand, ints(*at), keepdims=1))


def argmax(w: Writer, x: Tensor, over: str, result: TensorType) -> Tensor:
    """The place of the largest value; of equal ones, the first."""
    x = w.apart(w.fill(x, (over,)), over)
    at = x.groups.index((over,))
    kept = tuple(() if i == at else g for i, g in enumerate(x.groups))
    return Tensor(result, kept, w.emit("ArgMax", x.operand, axis=at, keepdims=1))


def softmax(w: Writer, x: Tensor, mask: Tensor | None, over: str, result: TensorType) -> Tensor:
    """Softmax along an axis. Entries outside the mask are 0; so is all of a row that has no entry."""
    x = w.cast(w.fill(x, (over,)), "real")
    if mask is not None:
        x = elementwise(w, "where", (mask, x, Tensor(TensorType(()), (), LOWEST)), result)
    x = w.apart(x, over)
    weights = Tensor(result, x.groups, w.emit("Softmax", x.operand, axis=x.groups.index((over,))))
    if mask is None:
        return weights
    return elementwise(w, "where", (mask, weights, Tensor(TensorType(()), (), np.array(0.0))), result)


def top(w: Writer, x: Tensor, over: str, count: int, result: TensorType) -> Tensor:
    """True at the `count` largest values along an axis; of equal ones the first (TopK promises that)."""
    x = w.apart(w.fill(x, (over,)), over)
    at = x.groups.index((over,))
    _, indices = w.several("TopK", x.operand, ints(count), outputs=2, axis=at)
    none = w.emit("Expand", np.array(False), w.emit("Shape", x.operand))
    some = w.emit("Expand", np.array(True), w.emit("Shape", indices))
    return Tensor(result, x.groups, w.emit("ScatterElements", none, indices, some, axis=at))


def cumsum(w: Writer, x: Tensor, over: str, result: TensorType) -> Tensor:
    x = w.apart(w.cast(w.fill(x, (over,)), result.dtype), over)
    at = x.groups.index((over,))
    return Tensor(result, x.groups, w.emit("CumSum", x.operand, np.array(at, np.int64)))


# ------------------------------------------------------------------ gather


def take(w: Writer, table: Tensor, ids: Tensor, axis: str, result: TensorType) -> Tensor:
    """Entries of a table by number, clamped to the axis; axes that both have are batch axes."""
    if axis not in table.axes:
        return replace(table, type=result)
    size = table.type.axis(axis).size
    if size.is_constant:
        bound = w.emit("Clip", ids.operand, np.array(0, np.int64), np.array(size.value - 1, np.int64))
    else:
        last = w.emit("Sub", w.sizes.scalar(size), np.array(1, np.int64))
        bound = w.emit("Max", w.emit("Min", ids.operand, last), np.array(0, np.int64))
    ids = replace(ids, wire=bound)
    shared = tuple(n for n in ids.type.names if n in ids.axes and n in table.axes)
    if not shared:
        table = w.apart(table, axis)
        at = table.groups.index((axis,))
        groups = (*table.groups[:at], *ids.groups, *table.groups[at + 1 :])
        return Tensor(result, groups, w.emit("Gather", table.operand, ids.operand, axis=at))
    batches: Groups = tuple((n,) for n in shared)
    rest = tuple((n,) for g in table.groups for n in g if n not in shared and n != axis)
    chosen = tuple((n,) for g in ids.groups for n in g if n not in shared)
    table = w.arrange(table, (*batches, (axis,), *rest))
    ids = w.arrange(ids, (*batches, *chosen, ()))
    wire = w.emit("GatherND", table.operand, ids.operand, batch_dims=len(shared))
    return Tensor(result, (*batches, *chosen, *rest), wire)


# ------------------------------------------------------------------ changes of shape: most cost nothing


def rename(x: Tensor, result: TensorType) -> Tensor:
    return x.renamed(result)


def split(w: Writer, x: Tensor, axis: str, into: tuple[Axis, ...], result: TensorType) -> Tensor:
    names = tuple(a.name for a in into)
    groups = tuple(tuple(m for n in g for m in (names if n == axis else (n,))) for g in x.groups)
    return Tensor(result, groups, x.wire)


def merge(w: Writer, x: Tensor, axes: tuple[str, ...], into: Axis, result: TensorType) -> Tensor:
    """Axes that lie side by side in this order only get another name."""
    if not any(n in x.axes for n in axes):
        return Tensor(result, x.groups, x.wire)
    x = w.fill(x, axes)
    home = next((g for g in x.groups if _inside(g, axes)), None)
    if home is None:
        groups: list[Group] = []
        for group in x.groups:
            kept = tuple(n for n in group if n not in axes)
            groups += [axes] if axes[0] in group else []
            groups += [kept] if kept or not group else []
        x = w.arrange(x, tuple(groups))
    renamed = tuple(_replace(g, axes, into.name) for g in x.groups)
    return Tensor(result, renamed, x.wire)


def _inside(group: Group, axes: tuple[str, ...]) -> bool:
    return any(group[i : i + len(axes)] == axes for i in range(len(group)))


def _replace(group: Group, axes: tuple[str, ...], name: str) -> Group:
    if axes[0] not in group:
        return group
    at = group.index(axes[0])
    return (*group[:at], name, *group[at + len(axes) :])


def select(w: Writer, x: Tensor, axis: str, at: int, result: TensorType) -> Tensor:
    """One entry of an axis; a stretch of the dimension when the axis is the outermost of those merged in it."""
    if axis not in x.axes:
        return replace(x, type=result)
    i, inner = _outermost(x, axis)
    if inner is not None:
        start = ints(at * inner)
        wire = w.emit("Slice", x.operand, start, ints((at + 1) * inner), ints(i))
        groups = tuple(g[1:] if k == i else g for k, g in enumerate(x.groups))
        return Tensor(result, groups, wire)
    x = w.apart(x, axis)
    i = x.groups.index((axis,))
    wire = w.emit("Gather", x.operand, np.array(at, np.int64), axis=i)
    return Tensor(result, (*x.groups[:i], *x.groups[i + 1 :]), wire)


def _outermost(x: Tensor, axis: str) -> tuple[int, int | None]:
    """The dimension that an axis leads and the length of what follows it there, if that is a number and not 1 axis."""
    for i, group in enumerate(x.groups):
        if len(group) > 1 and group[0] == axis and x.size(group[1:]).is_constant:
            return i, x.size(group[1:]).value
    return -1, None


def cut(w: Writer, x: Tensor, axis: str, start: int, to: Axis, result: TensorType) -> Tensor:
    """The stretch of an axis that begins at `start` and is as long as `to`."""
    if axis not in x.axes:
        return replace(x, type=result)
    i, inner = _outermost(x, axis)
    if inner is None:
        x = w.apart(x, axis)
        i, inner = x.groups.index((axis,)), 1
    stop = w.sizes.vector((Size.of(start) + to.size) * Size.of(inner))
    wire = w.emit("Slice", x.operand, ints(start * inner), stop, ints(i))
    groups = tuple(tuple(to.name if n == axis else n for n in g) for g in x.groups)
    return Tensor(result, groups, wire)


def last(w: Writer, x: Tensor, axis: str, to: Axis, result: TensorType) -> Tensor:
    """The last entries of an axis, as many as `to` says (fewer if there are fewer)."""
    x = w.apart(w.fill(x, (axis,)), axis)
    i = x.groups.index((axis,))
    start = ints(-to.size.value) if to.size.is_constant else w.emit("Neg", w.sizes.vector(to.size))
    groups = tuple(tuple(to.name if n == axis else n for n in g) for g in x.groups)
    return Tensor(result, groups, w.emit("Slice", x.operand, start, END, ints(i)))


def concat(w: Writer, parts: Sequence[Tensor], axis: str, to: Axis, result: TensorType) -> Tensor:
    """Values joined along an axis, in the layout of the first that has all axes of the others."""
    parts = [w.cast(w.fill(p, (axis,)), result.dtype) for p in parts]
    axes = tuple(a for a in parts[0].type.axes)
    groups = tuple(r for g in common(parts, axes) for r in runs(g, lambda a: a == axis))
    aligned = [w.arrange(w.fill(p, [n for g in groups for n in g]), groups) for p in parts]
    i = groups.index((axis,))
    wire = aligned[0].operand if len(aligned) == 1 else w.emit("Concat", *(p.operand for p in aligned), axis=i)
    return Tensor(result, tuple((to.name,) if g == (axis,) else g for g in groups), wire)


def stack(w: Writer, parts: Sequence[Tensor], axis: Axis, result: TensorType) -> Tensor:
    """Values side by side along a new axis."""
    return concat(w, [_with_unit(w, p, axis.name) for p in parts], axis.name, axis, result)


def _with_unit(w: Writer, x: Tensor, name: str) -> Tensor:
    """The value with a new last axis of length 1."""
    type = x.type.with_axes((*x.type.axes, Axis(name, Size.of(1))))
    if isinstance(x.wire, np.ndarray):
        return Tensor(type, (*x.groups, (name,)), x.wire[..., None])
    return Tensor(type, (*x.groups, (name,)), w.emit("Unsqueeze", x.wire, ints(len(x.groups))))


# ------------------------------------------------------------------ time


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
