"""Which lowering each primitive has; literals are computed at once, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from ....lang.axes import Axis, TensorType
from ...ir.graph import Node
from ...ir.ops import ELEMENTWISE_NAMES, OPS
from ...ir.primitive import DTYPE, Frame
from . import memory, reduction, shaping
from .contraction import dot
from .elementwise import elementwise
from .gather import take
from .layout import LITERAL_LIMIT, Tensor, Writer

Operands = Sequence[Tensor]


def primitive(w: Writer, node: Node, operands: Operands) -> Tensor | None:
    """The result of a node that is no call, repeat or scan; None when ONNX has no form of it here."""
    result = node.types[0]
    if node.op in ELEMENTWISE_NAMES:
        return _folded(node, operands) or elementwise(w, node.op, operands, result)
    if node.op not in LOWERINGS:
        return None
    if node.op in FOLDABLE and (literal := _folded(node, operands)):
        return literal
    return LOWERINGS[node.op](w, node, operands, result)


def literal(type: TensorType, value: bool | int | float) -> Tensor:
    """A constant: the same along all its axes."""
    return Tensor(type, (), np.array(value, np.float64 if type.dtype == "real" else None))


def _folded(node: Node, operands: Operands) -> Tensor | None:
    """The result, if all operands are literals: the primitive's own meaning says what it is."""
    if not all(isinstance(t.wire, np.ndarray) for t in operands):
        return None
    types = [_existing(t) for t in operands]
    whole = all(len(type.axes) == len(t.type.axes) for type, t in zip(types, operands, strict=True))
    if node.op not in ELEMENTWISE_NAMES and not whole:
        return None
    shapes = ([a.size.value for a in type.axes] for type in types)
    arrays = [np.asarray(t.wire).reshape(shape) for t, shape in zip(operands, shapes, strict=True)]
    type = OPS[node.op].infer(tuple(types), dict(node.attributes))
    if not all(a.size.is_constant for a in type.axes) or prod(a.size.value for a in type.axes) > LITERAL_LIMIT:
        return None
    with np.errstate(all="ignore"):
        array = OPS[node.op].run(tuple(arrays), tuple(types), type, dict(node.attributes), Frame({}))
    return Tensor(node.types[0], tuple((n,) for n in type.names), np.asarray(array))


def _existing(t: Tensor) -> TensorType:
    """The type of a value's array as it lies, with one dimension per axis."""
    axes = tuple(t.type.axis(n) for g in t.groups for n in g)
    return TensorType(axes, t.type.dtype)


def _range(w: Writer, axis: Axis, result: TensorType) -> Tensor:
    if axis.size.is_constant and axis.size.value <= LITERAL_LIMIT:
        return Tensor(result, ((axis.name,),), np.arange(axis.size.value))
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    return Tensor(result, ((axis.name,),), w.emit("Range", zero, w.sizes.scalar(axis.size), one))


def _softmax(w: Writer, node: Node, x: Operands, result: TensorType) -> Tensor:
    return reduction.softmax(w, x[0], _second(x), node["over"], result)


def _max(w: Writer, node: Node, x: Operands, result: TensorType) -> Tensor:
    if len(x) == 1:
        return reduction.reduce(w, "max", x[0], node["over"], result)
    return reduction.masked_max(w, x[0], x[1], node["over"], result)


def _second(x: Operands) -> Tensor | None:
    return x[1] if len(x) == 2 else None


def _shift(w: Writer, node: Node, x: Operands, result: TensorType) -> Tensor:
    return memory.shift(w, x[0], _second(x), node["axis"], node["by"], result)


def _size(w: Writer, node: Node, x: Operands, result: TensorType) -> Tensor:
    return w.cast(Tensor(TensorType((), "int"), (), w.sizes.scalar(node["axis"].size)), "real")


# Literals pass through these by the primitive's own meaning.
FOLDABLE = frozenset(
    (
        *("rename", "split", "merge", "select", "slice", "concat", "stack", "cast"),
        *("sum", "mean", "max", "min", "cumsum"),
    )
)

Lowering = Callable[[Writer, Node, Operands, TensorType], Tensor]

LOWERINGS: Mapping[str, Lowering] = {
    "const": lambda w, n, x, t: literal(t, n["value"]),
    "table": lambda w, n, x, t: Tensor(t, ((n["axis"].name,),), np.array(n["values"], DTYPE[t.dtype])),
    "index": lambda w, n, x, t: _range(w, n["axis"], t),
    "position": lambda w, n, x, t: _range(w, n["axis"], t),
    "dot": lambda w, n, x, t: dot(w, x[0], x[1], n["over"], t),
    "sum": lambda w, n, x, t: reduction.reduce(w, "sum", x[0], n["over"], t),
    "mean": lambda w, n, x, t: reduction.reduce(w, "mean", x[0], n["over"], t),
    "max": _max,
    "min": lambda w, n, x, t: reduction.reduce(w, "min", x[0], n["over"], t),
    "argmax": lambda w, n, x, t: reduction.argmax(w, x[0], _second(x), n["over"][0], t),
    "softmax": _softmax,
    "top": lambda w, n, x, t: reduction.top(w, x[0], _second(x), n["over"], n["count"], t),
    "take": lambda w, n, x, t: take(w, x[0], x[1], n["axis"], t),
    "rename": lambda w, n, x, t: shaping.rename(x[0], t),
    "split": lambda w, n, x, t: shaping.split(w, x[0], n["axis"], n["into"], t),
    "merge": lambda w, n, x, t: shaping.merge(w, x[0], n["axes"], n["into"], t),
    "select": lambda w, n, x, t: shaping.select(w, x[0], n["axis"], n["at"], t),
    "slice": lambda w, n, x, t: shaping.cut(w, x[0], n["axis"], n["start"], n["to"], t),
    "concat": lambda w, n, x, t: shaping.concat(w, x, n["axis"], n["to"], t),
    "stack": lambda w, n, x, t: shaping.stack(w, x, n["axis"], t),
    "expand": lambda w, n, x, t: Tensor(t, x[0].groups, x[0].wire),
    "cast": lambda w, n, x, t: w.cast(x[0], n["dtype"]),
    "dropout": lambda w, n, x, t: x[0],
    "shift": _shift,
    "delays": lambda w, n, x, t: memory.delays(w, x[0], _second(x), n["axis"], n["to"], t),
    "size": _size,
    "cumsum": lambda w, n, x, t: reduction.cumsum(w, x[0], n["axis"], t),
    "last": lambda w, n, x, t: memory.last(w, x[0], n["axis"], n["to"], t),
}
