"""Primitives that place and move entries: sources, gathers, changes of shape, time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...lang.axes import Axis, AxisError, TensorType, union
from ...lang.sizes import Size
from .primitive import DTYPE, Array, Frame, Primitive, Streaming, align, need

Types = tuple[TensorType, ...]
Arrays = tuple[Array, ...]
Attributes = Mapping[str, Any]


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


def _table_type(types: Types, attributes: Attributes) -> TensorType:
    axis, values = attributes["axis"], attributes["values"]
    if not values or axis.size != Size.of(len(values)):
        raise AxisError("size", f"`{axis.name}` is {axis.size}, the table has {len(values)} entries")
    real = any(isinstance(v, float) for v in values)
    return TensorType((axis,), "real" if real else "bool" if isinstance(values[0], bool) else "int")


def _table(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.array(attributes["values"], DTYPE[result.dtype])


def _iota_type(types: Types, attributes: Attributes) -> TensorType:
    return TensorType((attributes["axis"],), "int")


def _iota(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.arange(frame.size(attributes["axis"]), dtype=np.int64)


def _size_type(types: Types, attributes: Attributes) -> TensorType:
    return TensorType((), "real")


def _size(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.asarray(float(frame.size(attributes["axis"])))


# ------------------------------------------------------------------ gather


def _take_type(types: Types, attributes: Attributes) -> TensorType:
    table, ids = types
    need(table, attributes["axis"])
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
    need(types[0], attributes["axis"])
    return _swap(types[0], attributes["axis"], (attributes["to"],))


def _first(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return arrays[0]


def _split_type(types: Types, attributes: Attributes) -> TensorType:
    axis = need(types[0], attributes["axis"])
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
        size = size * need(types[0], name).size
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
    axis = need(types[0], attributes["axis"])
    if axis.size.is_constant and not 0 <= attributes["at"] < axis.size.value:
        raise AxisError("count", f"`{axis.name}` has {axis.size} entries; there is no entry {attributes['at']}", (0,))
    return types[0].without(axis.name)


def _select(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    return np.take(arrays[0], attributes["at"], axis=types[0].index(attributes["axis"]))


def _slice_type(types: Types, attributes: Attributes) -> TensorType:
    axis = need(types[0], attributes["axis"])
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
        size = size + need(type, name, i).size
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
    """`shift(x)` is zero where there is no such entry; `shift(x, state)` reads the delayed tokens instead."""
    need(types[0], attributes["axis"])
    if attributes["by"] == 0 or (len(types) == 2 and attributes["by"] < 0):
        raise AxisError("count", "a shift goes by at least 1 entry", (0,))
    if len(types) == 2:
        union((types[0].without(attributes["axis"]), types[1].without(attributes["axis"])))
    return types[0]


def _shift(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """Entry t is the one at t - by."""
    axis, by = types[0].index(attributes["axis"]), attributes["by"]
    length = arrays[0].shape[axis]
    whole = _preceded(arrays, types, axis, max(by, 0))
    after = np.zeros([-min(by, 0) if i == axis else n for i, n in enumerate(arrays[0].shape)], arrays[0].dtype)
    start = max(-by, 0)
    return np.take(np.concatenate([whole, after], axis=axis), range(start, start + length), axis=axis)


def _preceded(arrays: Arrays, types: Types, axis: int, count: int) -> Array:
    """The first operand with `count` entries before it: the second operand, or zeros."""
    if len(arrays) == 2:
        before = align(arrays[1], types[1], types[0].axes)
    else:
        before = np.zeros([count if i == axis else n for i, n in enumerate(arrays[0].shape)], arrays[0].dtype)
    return np.concatenate([before, arrays[0]], axis=axis)


def _delays_type(types: Types, attributes: Attributes) -> TensorType:
    """`delays(x)` has zeros before the first entry; `delays(x, state)` has the delayed tokens there."""
    need(types[0], attributes["axis"])
    if len(types) == 2:
        union((types[0].without(attributes["axis"]), types[1].without(attributes["axis"])))
    _fresh(types[0], attributes["to"], ())
    return types[0].with_axes((*types[0].axes, attributes["to"]))


def _delays(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    """Entry (t, w) is the one at t - (W - 1) + w, for W entries along `to`."""
    axis, width = types[0].index(attributes["axis"]), frame.size(attributes["to"])
    whole = _preceded(arrays, types, axis, width - 1)
    return np.lib.stride_tricks.sliding_window_view(whole, width, axis=axis)


def _append_type(types: Types, attributes: Attributes) -> TensorType:
    """`append(state, new)` along `axis`; `to` is the axis of the result (its size is their sum)."""
    for i in (0, 1):
        need(types[i], attributes["axis"], i)
    return _swap(types[1], attributes["axis"], (attributes["to"],))


def _append(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    aligned = align(arrays[0], types[0], types[1].axes)
    return np.concatenate([aligned, arrays[1]], axis=types[1].index(attributes["axis"]))


def _last_type(types: Types, attributes: Attributes) -> TensorType:
    """The last entries along `axis`; `to` is the axis of the result and says how many (fewer if there are fewer)."""
    need(types[0], attributes["axis"])
    return _swap(types[0], attributes["axis"], (attributes["to"],))


def _last(arrays: Arrays, types: Types, result: TensorType, attributes: Attributes, frame: Frame) -> Array:
    axis = types[0].index(attributes["axis"])
    length = arrays[0].shape[axis]
    return np.take(arrays[0], range(max(0, length - frame.size(attributes["to"])), length), axis=axis)


def _cumulate_type(types: Types, attributes: Attributes) -> TensorType:
    need(types[0], attributes["axis"])
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
    Primitive("table", (0, 0), _table_type, _table, S.SOURCE, ("axis", "values")),
    Primitive("index", (0, 0), _iota_type, _iota, S.SOURCE, ("axis",)),
    Primitive("size", (0, 0), _size_type, _size, S.SOURCE, ("axis",)),
    Primitive("position", (0, 0), _iota_type, _iota, S.POSITION, ("axis",)),
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
    Primitive("delays", (1, 2), _delays_type, _delays, S.DELAY, ("axis", "to")),
    Primitive("cumsum", (1, 1), _cumulate_type, _cumulate, S.REJECT, ("axis",)),
    Primitive("append", (2, 2), _append_type, _append, S.REJECT, ("axis", "to")),
    Primitive("last", (1, 1), _last_type, _last, S.REJECT, ("axis", "to")),
)
