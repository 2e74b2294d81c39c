"""Primitives that cut, join and regroup axes. Most of them cost no node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....lang.axes import Axis, TensorType
from ....lang.sizes import Size
from .layout import Group, Tensor, Writer, common, runs
from .scope import ints


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
