"""Primitives that look along an axis and keep or choose part of it: sums, maxima, softmax, the best few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....lang.axes import TensorType
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
