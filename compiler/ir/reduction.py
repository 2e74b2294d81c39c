"""Primitives that look along axes and keep or choose part of it: contractions, reductions, softmax, the best few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...lang.axes import AxisError, TensorType, union
from .primitive import DTYPE, Array, Frame, Primitive, Streaming, align, need

Types = tuple[TensorType, ...]
Arrays = tuple[Array, ...]
Attributes = Mapping[str, Any]

# What looks along an axis and may have a second operand, a mask: entries where it is false count as absent.
MASKED = frozenset(("softmax", "max", "argmax", "top"))


def _dot_type(types: Types, attributes: Attributes) -> TensorType:
    a, b = types
    for name in attributes["over"]:
        for i in (0, 1):
            need(types[i], name, i)
    union(types)
    if "bool" in (a.dtype, b.dtype):
        raise AxisError("dtype", "`dot` needs numbers", (0, 1))
    kept = tuple(x for x in a.axes if x.name not in attributes["over"])
    kept += tuple(x for x in b.axes if x.name not in attributes["over"] and not a.has(x.name))
    return TensorType(kept, "int" if a.dtype == b.dtype == "int" else "real")


def _dot(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    letter: dict[str, int] = {}
    for type in types:
        for name in type.names:
            letter.setdefault(name, len(letter))
    a, b = ([letter[n] for n in t.names] for t in types)
    return np.asarray(np.einsum(arrays[0], a, arrays[1], b, [letter[n] for n in result.names], optimize=True))


# ------------------------------------------------------------------ masks


def _seen_type(types: Types, names: tuple[str, ...], operation: str) -> TensorType:
    """The axes of what is looked at: those of the value, then those that only the mask has."""
    for name in names:
        need(types[0], name)
    if len(types) == 1:
        return types[0]
    if types[1].dtype != "bool":
        raise AxisError("dtype", f"the mask of `{operation}` is a bool", (1,))
    return TensorType(union(types), types[0].dtype)


def _seen(arrays: Arrays, types: Types, frame: Frame, absent: float) -> tuple[Array, Array, TensorType]:
    """The value with all axes and masked entries as `absent`, the mask, and the type of both."""
    type = TensorType(union(types), types[0].dtype)
    shape = frame.shape(type)
    mask = np.broadcast_to(align(arrays[1], types[1], type.axes) if len(arrays) == 2 else np.True_, shape)
    return np.where(mask, np.broadcast_to(align(arrays[0], types[0], type.axes), shape), absent), mask, type


# ------------------------------------------------------------------ reductions


def _reduce_type(types: Types, attributes: Attributes) -> TensorType:
    if types[0].dtype == "bool":
        raise AxisError("dtype", "a reduction needs numbers", (0,))
    return _seen_type(types, attributes["over"], "max").without(*attributes["over"])


def _mean_type(types: Types, attributes: Attributes) -> TensorType:
    return _reduce_type(types, attributes).with_dtype("real")


def _argmax_type(types: Types, attributes: Attributes) -> TensorType:
    return _seen_type(types, attributes["over"], "argmax").without(*attributes["over"]).with_dtype("int")


def _reduction(function: Callable[..., Array]) -> Callable[..., Array]:
    def run(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
        return np.asarray(function(arrays[0], axis=tuple(types[0].index(n) for n in attributes["over"])))

    return run


def _max(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """The largest entry that the mask keeps; 0 where it keeps none."""
    if len(arrays) == 1:
        return _reduction(np.max)(arrays, types, result, attributes, frame)
    x, mask, type = _seen(arrays, types, frame, -np.inf)
    axes = tuple(type.index(n) for n in attributes["over"])
    top = np.max(x, axis=axes, initial=-np.inf)
    return np.where(mask.any(axis=axes), top, 0.0).astype(DTYPE[result.dtype])


def _argmax(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    (name,) = attributes["over"]
    x, _, type = _seen(arrays, types, frame, -np.inf)
    return np.asarray(np.argmax(x, axis=type.index(name)))


def _softmax_type(types: Types, attributes: Attributes) -> TensorType:
    return _seen_type(types, (attributes["over"],), "softmax").with_dtype("real")


def _softmax(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """exp(x - max) / sum over the axis; a masked entry counts as 0, a row without any entry is all 0."""
    axis = result.index(attributes["over"])
    x, _, _ = _seen(arrays, types, frame, -np.inf)
    x = x.astype(np.float64)
    if x.shape[axis] == 0:
        return x
    top = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(np.isfinite(top), top, 0.0))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1.0, total)


def _top_type(types: Types, attributes: Attributes) -> TensorType:
    axis = need(types[0], attributes["over"])
    if attributes["count"] < 1 or (axis.size.is_constant and attributes["count"] > axis.size.value):
        raise AxisError("count", f"there are no {attributes['count']} best of {axis.size} entries", (0,))
    return _seen_type(types, (attributes["over"],), "best").with_dtype("bool")


def _top(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """The `count` largest of the entries that the mask keeps, or all of them if there are fewer."""
    x, mask, _ = _seen(arrays, types, frame, -np.inf)
    axis = result.index(attributes["over"])
    order = np.argsort(-x, axis=axis, kind="stable")
    chosen = np.zeros(x.shape, bool)
    count = min(attributes["count"], x.shape[axis])
    np.put_along_axis(chosen, np.take(order, range(count), axis=axis), True, axis=axis)
    return chosen & mask


S = Streaming
REDUCTIONS = (
    Primitive("dot", (2, 2), _dot_type, _dot, S.REDUCES, ("over",), commutative=False),
    Primitive("sum", (1, 1), _reduce_type, _reduction(np.sum), S.REDUCES, ("over",)),
    Primitive("mean", (1, 1), _mean_type, _reduction(np.mean), S.REDUCES, ("over",)),
    Primitive("max", (1, 2), _reduce_type, _max, S.REDUCES, ("over",)),
    Primitive("min", (1, 1), _reduce_type, _reduction(np.min), S.REDUCES, ("over",)),
    Primitive("argmax", (1, 2), _argmax_type, _argmax, S.REDUCES, ("over",)),
    Primitive("softmax", (1, 2), _softmax_type, _softmax, S.REDUCES, ("over",)),
    Primitive("top", (1, 2), _top_type, _top, S.REDUCES, ("over", "count")),
)
