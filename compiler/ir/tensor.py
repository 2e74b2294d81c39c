"""Primitives that look along axes: sources, contractions, reductions, gathers, changes of shape, time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...lang.axes import Axis, AxisError, TensorType, union
from ...lang.sizes import Size
from .primitive import Array, Frame, Primitive, Streaming, align

Types = tuple[TensorType, ...]
Arrays = tuple[Array, ...]
Attributes = Mapping[str, Any]

DTYPE = {"real": np.float64, "int": np.int64, "bool": np.bool_}


def _need(type: TensorType, name: str, operand: int = 0) -> Axis:
    if not type.has(name):
        raise AxisError("missing", f"`{name}` is not an axis of {type}", (operand,))
    return type.axis(name)


def _fresh(type: TensorType, axis: Axis, leaving: tuple[str, ...]) -> None:
    if axis.name not in leaving and type.has(axis.name):
        raise AxisError("twice", f"{type} has an axis `{axis.name}` already", (0,))


def _swap(type: TensorType, name: str, axes: tuple[Axis, ...]) -> TensorType:
    """`type` with axis `name` replaced, in its place, by `axes`."""
    i = type.index(name)
    for axis in axes:
        _fresh(type, axis, (name,))
    return type.with_axes((*type.axes[:i], *axes, *type.axes[i + 1 :]))


def _given(types: Types, attributes: Attributes) -> TensorType:
    """Sources carry their type as the attribute `type`."""
    result: TensorType = attributes["type"]
    return result


def _unbound(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    raise AssertionError("inputs, parameters, states and ambient values are supplied by the interpreter")


# ------------------------------------------------------------------ sources


def _constant(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.full(frame.shape(result), attributes["value"], DTYPE[result.dtype])


def _iota_type(types: Types, attributes: Attributes) -> TensorType:
    return TensorType((attributes["axis"],), "int")


def _iota(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.arange(frame.size(attributes["axis"]), dtype=np.int64)


# ------------------------------------------------------------------ contractions, reductions


def _dot_type(types: Types, attributes: Attributes) -> TensorType:
    a, b = types
    for name in attributes["over"]:
        for i in (0, 1):
            _need(types[i], name, i)
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


def _reduce_type(types: Types, attributes: Attributes) -> TensorType:
    for name in attributes["over"]:
        _need(types[0], name)
    if types[0].dtype == "bool":
        raise AxisError("dtype", "a reduction needs numbers", (0,))
    return types[0].without(*attributes["over"])


def _mean_type(types: Types, attributes: Attributes) -> TensorType:
    return _reduce_type(types, attributes).with_dtype("real")


def _argmax_type(types: Types, attributes: Attributes) -> TensorType:
    return _reduce_type(types, attributes).with_dtype("int")


def _reduction(function: Callable[..., Array]) -> Callable[..., Array]:
    def run(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
        return np.asarray(function(arrays[0], axis=tuple(types[0].index(n) for n in attributes["over"])))

    return run


def _argmax(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    (name,) = attributes["over"]
    return np.asarray(np.argmax(arrays[0], axis=types[0].index(name)))


def _softmax_type(types: Types, attributes: Attributes) -> TensorType:
    _need(types[0], attributes["over"])
    if len(types) == 2:
        if types[1].dtype != "bool":
            raise AxisError("dtype", "the mask of `softmax` is a bool", (1,))
        return TensorType(union(types), "real")
    return types[0].with_dtype("real")


def _softmax(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """exp(x - max) / sum over the axis; a masked entry counts as 0, a row without any entry is all 0."""
    axis = result.index(attributes["over"])
    x = np.broadcast_to(align(arrays[0], types[0], result.axes), frame.shape(result)).astype(np.float64)
    if len(arrays) == 2:
        x = np.where(align(arrays[1], types[1], result.axes), x, -np.inf)
    if x.shape[axis] == 0:
        return x
    top = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(np.isfinite(top), top, 0.0))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1.0, total)


def _top_type(types: Types, attributes: Attributes) -> TensorType:
    axis = _need(types[0], attributes["over"])
    if axis.size.is_constant and not 0 < attributes["count"] <= axis.size.value:
        raise AxisError("count", f"there are no {attributes['count']} best of {axis.size} entries", (0,))
    return types[0].with_dtype("bool")


def _top(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    axis = types[0].index(attributes["over"])
    order = np.argsort(-arrays[0], axis=axis, kind="stable")
    mask = np.zeros(arrays[0].shape, bool)
    np.put_along_axis(mask, np.take(order, range(attributes["count"]), axis=axis), True, axis=axis)
    return mask


# ------------------------------------------------------------------ gather


def _take_type(types: Types, attributes: Attributes) -> TensorType:
    table, ids = types
    _need(table, attributes["axis"])
    if ids.dtype != "int":
        raise AxisError("dtype", f"`take` needs int indices, these are {ids.dtype}", (1,))
    if ids.has(attributes["axis"]):
        raise AxisError("twice", f"the indices have the axis `{attributes['axis']}` themselves", (1,))
    rest = table.without(attributes["axis"])
    union((ids, rest))
    return TensorType((*ids.axes, *(a for a in rest.axes if not ids.has(a.name))), table.dtype)


def _take(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """out[i, r] = table[r, ids[i]]; axes that both have are batch axes; indices are clamped to the axis."""
    axis = attributes["axis"]
    over = types[0].axis(axis)
    size = frame.size(over)
    ids = np.broadcast_to(align(np.clip(arrays[1], 0, size - 1), types[1], result.axes), frame.shape(result))
    table = np.broadcast_to(align(arrays[0], types[0], (*result.axes, over)), (*frame.shape(result), size))
    return np.take_along_axis(table, ids[..., None], axis=-1)[..., 0]


# ------------------------------------------------------------------ changes of shape


def _rename_type(types: Types, attributes: Attributes) -> TensorType:
    _need(types[0], attributes["axis"])
    return _swap(types[0], attributes["axis"], (attributes["to"],))


def _first(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return arrays[0]


def _split_type(types: Types, attributes: Attributes) -> TensorType:
    axis = _need(types[0], attributes["axis"])
    size = Size.of(1)
    for part in attributes["into"]:
        size = size * part.size
    if size != axis.size:
        names = " * ".join(a.name for a in attributes["into"])
        sizes = " * ".join(str(a.size) for a in attributes["into"])
        raise AxisError("size", f"`{axis.name}` is {axis.size}, but `{names}` is {sizes} = {size}", (0,))
    return _swap(types[0], axis.name, attributes["into"])


def _reshape(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return arrays[0].reshape(frame.shape(result))


def _merge_type(types: Types, attributes: Attributes) -> TensorType:
    """The merged axes are brought together, in the order given, where the first of them stands."""
    size = Size.of(1)
    for name in attributes["axes"]:
        size = size * _need(types[0], name).size
    if size != attributes["into"].size:
        into = attributes["into"]
        raise AxisError("size", f"`{into.name}` is {into.size}, its parts make {size}", (0,))
    kept = types[0].without(*attributes["axes"][1:])
    rest = kept.without(attributes["axes"][0])
    _fresh(rest, attributes["into"], ())
    return _swap(kept, attributes["axes"][0], (attributes["into"],))


def _merge(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    names = attributes["axes"]
    target: list[str] = []
    for axis in types[0].without(*names[1:]).names:
        target += names if axis == names[0] else [axis]
    return np.transpose(arrays[0], [types[0].index(n) for n in target]).reshape(frame.shape(result))


def _select_type(types: Types, attributes: Attributes) -> TensorType:
    axis = _need(types[0], attributes["axis"])
    if axis.size.is_constant and not 0 <= attributes["at"] < axis.size.value:
        raise AxisError("count", f"`{axis.name}` has {axis.size} entries; there is no entry {attributes['at']}", (0,))
    return types[0].without(axis.name)


def _select(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.take(arrays[0], attributes["at"], axis=types[0].index(attributes["axis"]))


def _slice_type(types: Types, attributes: Attributes) -> TensorType:
    axis = _need(types[0], attributes["axis"])
    start, size = attributes["start"], attributes["to"].size
    if axis.size.is_constant and size.is_constant and not 0 <= start <= start + size.value <= axis.size.value:
        message = f"`{axis.name}` has {axis.size} entries; {start} to {start + size.value} is outside"
        raise AxisError("size", message, (0,))
    return _swap(types[0], axis.name, (attributes["to"],))


def _slice(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    axis, start = types[0].index(attributes["axis"]), attributes["start"]
    return np.take(arrays[0], range(start, start + frame.size(attributes["to"])), axis=axis)


def _concat_type(types: Types, attributes: Attributes) -> TensorType:
    name, to = attributes["axis"], attributes["to"]
    size = Size.of(0)
    for i, type in enumerate(types):
        size = size + _need(type, name, i).size
        if type.without(name) != types[0].without(name):
            raise AxisError("missing", f"{types[0]} and {type} can only be joined when all other axes agree", (0, i))
    if size != to.size:
        raise AxisError("size", f"`{to.name}` is {to.size}, its parts make {size}", (0,))
    return _swap(types[0], name, (to,))


def _concat(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    aligned = [align(a, t, types[0].axes) for a, t in zip(arrays, types, strict=True)]
    return np.concatenate(aligned, axis=types[0].index(attributes["axis"]))


def _stack_type(types: Types, attributes: Attributes) -> TensorType:
    for i, type in enumerate(types):
        if type != types[0]:
            raise AxisError("missing", f"{types[0]} and {type} can only be stacked when they agree", (0, i))
    _fresh(types[0], attributes["axis"], ())
    return types[0].with_axes((*types[0].axes, attributes["axis"]))


def _stack(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.stack(arrays, axis=-1)


def _expand_type(types: Types, attributes: Attributes) -> TensorType:
    """`axes` are all axes of the result, in order; those the operand lacks are repeated."""
    result = TensorType(attributes["axes"], types[0].dtype)
    for axis in types[0].axes:
        if not result.has(axis.name) or result.axis(axis.name).size != axis.size:
            raise AxisError("missing", f"{types[0]} has an axis `{axis}` that {result} lacks", (0,))
    return result


def _expand(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.broadcast_to(align(arrays[0], types[0], result.axes), frame.shape(result))


def _cast_type(types: Types, attributes: Attributes) -> TensorType:
    return types[0].with_dtype(attributes["dtype"])


def _cast(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return arrays[0].astype(DTYPE[attributes["dtype"]])


# ------------------------------------------------------------------ time


def _shift_type(types: Types, attributes: Attributes) -> TensorType:
    """`shift(x)` is zero before the first token; `shift(x, state)` reads the delayed tokens instead."""
    _need(types[0], attributes["axis"])
    if attributes["by"] < 1:
        raise AxisError("count", "a shift goes back by at least 1", (0,))
    if len(types) == 2:
        union((types[0].without(attributes["axis"]), types[1].without(attributes["axis"])))
    return types[0]


def _shift(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    axis, by = types[0].index(attributes["axis"]), attributes["by"]
    length = arrays[0].shape[axis]
    if len(arrays) == 2:
        before = align(arrays[1], types[1], types[0].axes)
    else:
        before = np.zeros([by if i == axis else n for i, n in enumerate(arrays[0].shape)], arrays[0].dtype)
    return np.take(np.concatenate([before, arrays[0]], axis=axis), range(length), axis=axis)


def _append_type(types: Types, attributes: Attributes) -> TensorType:
    """`append(state, new)` along `axis`; `to` is the axis of the result (its size is their sum)."""
    for i in (0, 1):
        _need(types[i], attributes["axis"], i)
    return _swap(types[1], attributes["axis"], (attributes["to"],))


def _append(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    aligned = align(arrays[0], types[0], types[1].axes)
    return np.concatenate([aligned, arrays[1]], axis=types[1].index(attributes["axis"]))


def _last_type(types: Types, attributes: Attributes) -> TensorType:
    """The last entries along `axis`; `to` is the axis of the result and says how many (fewer if there are fewer)."""
    _need(types[0], attributes["axis"])
    return _swap(types[0], attributes["axis"], (attributes["to"],))


def _last(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    axis = types[0].index(attributes["axis"])
    length = arrays[0].shape[axis]
    return np.take(arrays[0], range(max(0, length - frame.size(attributes["to"])), length), axis=axis)


def _cumulate_type(types: Types, attributes: Attributes) -> TensorType:
    _need(types[0], attributes["axis"])
    return types[0].with_dtype("int" if types[0].dtype in ("int", "bool") else "real")


def _cumulate(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.cumsum(arrays[0], axis=types[0].index(attributes["axis"]), dtype=DTYPE[result.dtype])


def _same(types: Types, attributes: Attributes) -> TensorType:
    return types[0]


S = Streaming
TENSOR = (
    Primitive("const", (0, 0), _given, _constant, S.SOURCE, ("type", "value")),
    Primitive("input", (0, 0), _given, _unbound, S.SOURCE, ("name", "type")),
    Primitive("param", (0, 0), _given, _unbound, S.SOURCE, ("name", "type")),
    Primitive("state", (0, 0), _given, _unbound, S.SOURCE, ("name", "type")),
    Primitive("ambient", (0, 0), _given, _unbound, S.SOURCE, ("name", "type")),
    Primitive("index", (0, 0), _iota_type, _iota, S.SOURCE, ("axis",)),
    Primitive("position", (0, 0), _iota_type, _iota, S.POSITION, ("axis",)),
    Primitive("dot", (2, 2), _dot_type, _dot, S.REDUCES, ("over",), commutative=False),
    Primitive("sum", (1, 1), _reduce_type, _reduction(np.sum), S.REDUCES, ("over",)),
    Primitive("mean", (1, 1), _mean_type, _reduction(np.mean), S.REDUCES, ("over",)),
    Primitive("max", (1, 1), _reduce_type, _reduction(np.max), S.REDUCES, ("over",)),
    Primitive("min", (1, 1), _reduce_type, _reduction(np.min), S.REDUCES, ("over",)),
    Primitive("argmax", (1, 1), _argmax_type, _argmax, S.REDUCES, ("over",)),
    Primitive("softmax", (1, 2), _softmax_type, _softmax, S.REDUCES, ("over",)),
    Primitive("top", (1, 1), _top_type, _top, S.REDUCES, ("over", "count")),
    Primitive("take", (2, 2), _take_type, _take, S.REDUCES, ("axis",)),
    Primitive("rename", (1, 1), _rename_type, _first, S.RENAME, ("axis", "to")),
    Primitive("split", (1, 1), _split_type, _reshape, S.REJECT, ("axis", "into")),
    Primitive("merge", (1, 1), _merge_type, _merge, S.REJECT, ("axes", "into")),
    Primitive("select", (1, 1), _select_type, _select, S.REJECT, ("axis", "at")),
    Primitive("slice", (1, 1), _slice_type, _slice, S.REJECT, ("axis", "start", "to")),
    Primitive("concat", (1, None), _concat_type, _concat, S.REJECT, ("axis", "to")),
    Primitive("stack", (1, None), _stack_type, _stack, S.POSITIONWISE, ("axis",)),
    Primitive("expand", (1, 1), _expand_type, _expand, S.POSITIONWISE, ("axes",)),
    Primitive("cast", (1, 1), _cast_type, _cast, S.POSITIONWISE, ("dtype",)),
    Primitive("dropout", (1, 1), _same, _first, S.POSITIONWISE, ("name", "rate")),
    Primitive("shift", (1, 2), _shift_type, _shift, S.DELAY, ("axis", "by")),
    Primitive("cumsum", (1, 1), _cumulate_type, _cumulate, S.REJECT, ("axis",)),
    Primitive("append", (2, 2), _append_type, _append, S.REJECT, ("axis", "to")),
    Primitive("last", (1, 1), _last_type, _last, S.REJECT, ("axis", "to")),
)
