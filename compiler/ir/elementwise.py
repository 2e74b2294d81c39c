"""Elementwise primitives: they broadcast by name, so one line each states all there is to know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...lang.axes import AxisError, TensorType, union
from .primitive import Array, Frame, Primitive, align

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _numeric(types: tuple[TensorType, ...]) -> str:
    for i, type in enumerate(types):
        if type.dtype == "bool":
            raise AxisError("dtype", "a number is needed here, this is a bool", (i,))
    return "int" if all(t.dtype == "int" for t in types) else "real"


def _real(types: tuple[TensorType, ...]) -> str:
    _numeric(types)
    return "real"


def _logic(types: tuple[TensorType, ...]) -> str:
    for i, type in enumerate(types):
        if type.dtype != "bool":
            raise AxisError("dtype", f"a bool is needed here, this is {type.dtype}", (i,))
    return "bool"


def _compare(types: tuple[TensorType, ...]) -> str:
    _numeric(types)
    return "bool"


def _choose(types: tuple[TensorType, ...]) -> str:
    if types[0].dtype != "bool":
        raise AxisError("dtype", "`choose` decides by a bool", (0,))
    if types[1].dtype == types[2].dtype == "bool":
        return "bool"
    return _numeric(types[1:])


def _elementwise(
    name: str,
    arity: int,
    dtype: Callable[[tuple[TensorType, ...]], str],
    function: Callable[..., Array],
    torch: str,
    onnx: str,
    commutative: bool = False,
) -> Primitive:
    def infer(types: tuple[TensorType, ...], attributes: Mapping[str, Any]) -> TensorType:
        return TensorType(union(types), dtype(types))

    def run(
        arrays: tuple[Array, ...],
        types: tuple[TensorType, ...],
        result: TensorType,
        attributes: Mapping[str, Any],
        frame: Frame,
    ) -> Array:
        aligned = [align(a, t, result.axes) for a, t in zip(arrays, types, strict=True)]
        return np.broadcast_to(function(*aligned), frame.shape(result))

    return Primitive(name, (arity, arity), infer, run, commutative=commutative, torch=torch, onnx=onnx)


def _safe_power(a: Array, b: Array) -> Array:
    if np.issubdtype(np.result_type(a, b), np.integer):
        return np.power(a, np.maximum(b, 0))
    return np.power(np.asarray(a, np.float64), b)


# name, operands, result dtype, NumPy, PyTorch, ONNX (an operator, or a template the emitter knows)
ELEMENTWISE = tuple(
    _elementwise(*row)
    for row in (
        ("add", 2, _numeric, np.add, "{0} + {1}", "Add", True),
        ("sub", 2, _numeric, np.subtract, "{0} - {1}", "Sub"),
        ("mul", 2, _numeric, np.multiply, "{0} * {1}", "Mul", True),
        ("div", 2, _real, np.true_divide, "{0} / {1}", "Div"),
        ("floordiv", 2, _numeric, np.floor_divide, "torch.div({0}, {1}, rounding_mode='floor')", "floordiv"),
        ("mod", 2, _numeric, np.mod, "torch.remainder({0}, {1})", "mod"),
        ("pow", 2, _numeric, _safe_power, "{0} ** {1}", "Pow"),
        ("minimum", 2, _numeric, np.minimum, "torch.minimum({0}, {1})", "Min", True),
        ("maximum", 2, _numeric, np.maximum, "torch.maximum({0}, {1})", "Max", True),
        ("neg", 1, _numeric, np.negative, "-{0}", "Neg"),
        ("abs", 1, _numeric, np.abs, "{0}.abs()", "Abs"),
        ("exp", 1, _real, np.exp, "torch.exp({0})", "Exp"),
        ("log", 1, _real, np.log, "torch.log({0})", "Log"),
        ("sqrt", 1, _real, np.sqrt, "torch.sqrt({0})", "Sqrt"),
        ("rsqrt", 1, _real, lambda x: 1 / np.sqrt(x), "torch.rsqrt({0})", "rsqrt"),
        ("sin", 1, _real, np.sin, "torch.sin({0})", "Sin"),
        ("cos", 1, _real, np.cos, "torch.cos({0})", "Cos"),
        ("tanh", 1, _real, np.tanh, "torch.tanh({0})", "Tanh"),
        ("sigmoid", 1, _real, lambda x: np.exp(-np.logaddexp(0, -x)), "torch.sigmoid({0})", "Sigmoid"),
        ("erf", 1, _real, lambda x: _erf(np.asarray(x, np.float64)), "torch.erf({0})", "Erf"),
        ("floor", 1, _real, np.floor, "torch.floor({0})", "Floor"),
        ("ceil", 1, _real, np.ceil, "torch.ceil({0})", "Ceil"),
        ("round", 1, _real, np.round, "torch.round({0})", "Round"),
        ("eq", 2, _compare, np.equal, "{0} == {1}", "Equal", True),
        ("ne", 2, _compare, np.not_equal, "{0} != {1}", "ne", True),
        ("lt", 2, _compare, np.less, "{0} < {1}", "Less"),
        ("le", 2, _compare, np.less_equal, "{0} <= {1}", "LessOrEqual"),
        ("gt", 2, _compare, np.greater, "{0} > {1}", "Greater"),
        ("ge", 2, _compare, np.greater_equal, "{0} >= {1}", "GreaterOrEqual"),
        ("and", 2, _logic, np.logical_and, "{0} & {1}", "And", True),
        ("or", 2, _logic, np.logical_or, "{0} | {1}", "Or", True),
        ("not", 1, _logic, np.logical_not, "~{0}", "Not"),
        ("where", 3, _choose, np.where, "torch.where({0}, {1}, {2})", "Where"),
    )
)
