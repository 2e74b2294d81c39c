"""Primitives that look along an axis and keep or choose part of it: sums, maxima, softmax, the best few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....lang.axes import TensorType, union
from ....lang.sizes import Size
from .elementwise import elementwise
from .layout import Tensor, Writer, runs
from .scope import ints

OPERATORS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}
LOWEST = np.array(np.finfo(np.float32).min)


def reduce(w: Writer, op: str, x: Tensor, over: tuple[str, ...], result: TensorType) -> Tensor:
    """sum, mean, max or min over axes. Reduced dimensions stay, with length 1."""
    x = w.cast(x, result.dtype)
    if op == "sum":
        x = _repeated(w, x, [n for n in over if n not in x.axes])
    over = tuple(n for n in over if n in x.axes)
    if not over:
        return replace(x, type=result)
    groups = tuple(r for g in x.groups for r in runs(g, lambda a: a in over))
    x = w.arrange(x, groups)
    at = tuple(i for i, g in enumerate(groups) if g and g[0] in over)
    kept = tuple(() if i in at else g for i, g in enumerate(groups))
    return Tensor(result, kept, w.emit(OPERATORS[op], x.operand, ints(*at), keepdims=1))


def _repeated(w: Writer, x: Tensor, names: Sequence[str]) -> Tensor:
    """The sum along axes that the value does not vary along: it is multiplied by their lengths."""
    size = x.size(tuple(names))
    if size == Size.of(1):
        return x
    count = Tensor(TensorType((), "int"), (), w.sizes.scalar(size))
    return elementwise(w, "mul", (x, w.cast(count, x.type.dtype)), x.type)


def seen(w: Writer, x: Tensor, mask: Tensor | None) -> Tensor:
    """The value with masked entries as the lowest number there is."""
    if mask is None:
        return x
    lowest = np.array(np.iinfo(np.int64).min) if x.type.dtype == "int" else LOWEST
    absent = Tensor(TensorType((), x.type.dtype), (), lowest)
    return elementwise(w, "where", (mask, x, absent), TensorType(union((x.type, mask.type)), x.type.dtype))


def masked_max(w: Writer, x: Tensor, mask: Tensor, over: tuple[str, ...], result: TensorType) -> Tensor:
    """The largest value that the mask keeps; 0 where it keeps none."""
    top = reduce(w, "max", seen(w, x, mask), over, result)
    rest = mask.type.without(*(n for n in over if mask.type.has(n)))
    count = reduce(w, "max", w.cast(mask, "int"), over, rest.with_dtype("int"))
    none = Tensor(TensorType((), result.dtype), (), np.array(0.0 if result.dtype == "real" else 0))
    return elementwise(w, "where", (w.cast(count, "bool"), top, none), result)


def argmax(w: Writer, x: Tensor, mask: Tensor | None, over: str, result: TensorType) -> Tensor:
    """The place of the largest value; of equal ones, the first."""
    x = seen(w, x, mask)
    x = w.apart(w.fill(x, (over,)), over)
    at = x.groups.index((over,))
    kept = tuple(() if i == at else g for i, g in enumerate(x.groups))
    return Tensor(result, kept, w.emit("ArgMax", x.operand, axis=at, keepdims=1))


def softmax(w: Writer, x: Tensor, mask: Tensor | None, over: str, result: TensorType) -> Tensor:
    """Softmax along an axis. Entries outside the mask are 0; so is all of a row that has no entry."""
    x = w.apart(seen(w, w.cast(w.fill(x, (over,)), "real"), mask), over)
    weights = Tensor(result, x.groups, w.emit("Softmax", x.operand, axis=x.groups.index((over,))))
    if mask is None:
        return weights
    return elementwise(w, "where", (mask, weights, Tensor(TensorType(()), (), np.array(0.0))), result)


def top(w: Writer, x: Tensor, mask: Tensor | None, over: str, count: int, result: TensorType) -> Tensor:
    """True at the `count` largest values along an axis (or all); of equal ones the first (TopK promises that)."""
    x = w.apart(w.fill(seen(w, x, mask), (over,)), over)
    at, size = x.groups.index((over,)), x.type.axis(over).size
    wanted = ints(count) if size.is_constant else w.emit("Min", ints(count), w.sizes.vector(size))
    _, indices = w.several("TopK", x.operand, wanted, outputs=2, axis=at)
    none = w.emit("Expand", np.array(False), w.emit("Shape", x.operand))
    some = w.emit("Expand", np.array(True), w.emit("Shape", indices))
    chosen = Tensor(result, x.groups, w.emit("ScatterElements", none, indices, some, axis=at))
    return chosen if mask is None else elementwise(w, "and", (chosen, mask), result)


def cumsum(w: Writer, x: Tensor, over: str, result: TensorType) -> Tensor:
    x = w.apart(w.cast(w.fill(x, (over,)), result.dtype), over)
    at = x.groups.index((over,))
    return Tensor(result, x.groups, w.emit("CumSum", x.operand, np.array(at, np.int64)))
