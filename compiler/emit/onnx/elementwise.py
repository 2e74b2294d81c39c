"""Elementwise primitives as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ....lang.axes import TensorType
from ...ir.elementwise import ELEMENTWISE
from .layout import Tensor, Writer, common
from .scope import Operand, Wire

COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
OPERATORS = {p.name: p.onnx for p in ELEMENTWISE}


def elementwise(w: Writer, op: str, operands: Sequence[Tensor], result: TensorType) -> Tensor:
    """One elementwise operation: operands are brought to the result's dtype and to dimensions that broadcast."""
    dtype = result.dtype
    if op in COMPARISONS:
        dtype = "real" if any(t.type.dtype == "real" for t in operands) else "int"
    cast = [w.cast(t, dtype) if op != "where" or i else t for i, t in enumerate(operands)]
    groups = common(cast, result.axes)
    aligned = [w.aligned(t, groups) for t in cast]
    wires = [t.operand for t in aligned]
    special = SPECIAL.get(op)
    wire = special(w, wires, dtype) if special else w.emit(OPERATORS[op], *wires)
    rank = max((len(t.groups) for t in aligned), default=0)
    return Tensor(result, groups[len(groups) - rank :], wire)


def _floor_division(w: Writer, x: list[Operand], dtype: str) -> Operand:
    remainder = _modulo(w, x, dtype)
    if dtype == "int":
        quotient = w.emit("Div", w.emit("Sub", x[0], remainder), _safe(w, x[1]))
        return quotient if _never_zero(x[1]) else w.emit("Mul", quotient, w.emit("Cast", _nonzero(w, x[1]), to=7))
    # The division is whole up to rounding: the nearest whole number is the answer.
    quotient = w.emit("Div", w.emit("Sub", x[0], remainder), x[1])
    return w.emit("Floor", w.emit("Add", quotient, np.array(0.5, np.float32)))


def _modulo(w: Writer, x: list[Operand], dtype: str) -> Operand:
    """The remainder with the sign of the divisor; 0 for a whole number divided by 0."""
    if dtype == "int":
        remainder = w.emit("Mod", x[0], _safe(w, x[1]))
        return remainder if _never_zero(x[1]) else w.emit("Mul", remainder, w.emit("Cast", _nonzero(w, x[1]), to=7))
    zero = np.array(0, np.float32)
    remainder = w.emit("Mod", x[0], x[1], fmod=1)
    other_sign = w.emit("Less", w.emit("Mul", remainder, x[1]), zero)
    return w.emit("Where", other_sign, w.emit("Add", remainder, x[1]), remainder)


def _never_zero(divisor: Operand) -> bool:
    return isinstance(divisor, np.ndarray) and bool(np.all(divisor))


def _nonzero(w: Writer, divisor: Operand) -> Operand:
    return w.emit("Cast", divisor, to=9)


def _safe(w: Writer, divisor: Operand) -> Operand:
    """The divisor with 1 for 0: whole-number division by 0 would end the process."""
    if _never_zero(divisor):
        return divisor
    return w.emit("Where", _nonzero(w, divisor), divisor, np.array(1, np.int64))


def _power(w: Writer, x: list[Operand], dtype: str) -> Operand:
    exponent = x[1]
    if isinstance(exponent, np.ndarray) and exponent.ndim == 0 and exponent == 2:
        return w.emit("Mul", x[0], x[0])
    if dtype == "int":
        exponent = w.emit("Max", exponent, np.array(0, np.int64))
    return w.emit("Pow", x[0], exponent)


def _choose(w: Writer, x: list[Operand], dtype: str) -> Operand:
    if dtype == "bool":  # ONNX Runtime has no Where of bools on the CPU
        yes = w.emit("And", x[0], x[1])
        return w.emit("Or", yes, w.emit("And", w.emit("Not", x[0]), x[2]))
    return w.emit("Where", *x)


def _rsqrt(w: Writer, x: list[Operand], dtype: str) -> Operand:
    return w.emit("Reciprocal", w.emit("Sqrt", x[0]))


def _unequal(w: Writer, x: list[Operand], dtype: str) -> Operand:
    return w.emit("Not", w.emit("Equal", *x))


SPECIAL: Mapping[str, Callable[[Writer, list[Operand], str], Operand | Wire]] = {
    "floordiv": _floor_division,
    "mod": _modulo,
    "pow": _power,
    "where": _choose,
    "rsqrt": _rsqrt,
    "ne": _unequal,
}
