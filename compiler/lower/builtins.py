"""The functions of the kernel as a spec calls them: which arguments are tensors, axes or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.axes import Axis
from ...lang.diagnostics import WeftError
from ...lang.sizes import InexactSize, Size
from ...lang.source import Span
from ..ir.elementwise import ELEMENTWISE
from ..ir.module import Init
from . import reductions, tables  # noqa: F401  (their functions register themselves)
from .kernel import TABLE, USAGE, Arguments, Given, Run, kernel, need_axis
from .numbers import REAL, STATIC_FUNCTIONS, WHOLE, bounded, number
from .values import Tensor, describe

if TYPE_CHECKING:
    from .expressions import Evaluator


# ------------------------------------------------------------------ gathers


@kernel("take(table, ids, V)")
def _take(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    table, ids = arguments.tensor(), arguments.tensor()
    axis = arguments.one_axis()
    need_axis(table, (axis,), arguments.at)
    return evaluator.building(span).op("take", (table, ids), span, axis=axis)


# ------------------------------------------------------------------ changes of shape


def _name_of(expression: tree.Expression, name: str) -> str:
    if not isinstance(expression, tree.Name):
        raise WeftError(errors.wrong_call(f"`{name}` needs the name of an axis here", expression.span))
    return expression.id


@kernel("rename(x, T -> S)")
def _rename(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axes = arguments.tensor(), arguments.axis_map()
    source, target = _name_of(axes.source, "rename"), _name_of(axes.target, "rename")
    need_axis(x, (source,), axes.source.span)
    size = evaluator.elaborator.remembered(x.type.axis(source).size)
    return evaluator.building(span).op("rename", (x,), span, axis=source, to=Axis(target, size))


@kernel("split(x, K -> (2, J))")
def _split(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
    x, axes = arguments.tensor(), arguments.axis_map()
    source = _name_of(axes.source, "split")
    need_axis(x, (source,), axes.source.span)
    if not isinstance(axes.target, tree.Tuple):
        raise WeftError(errors.wrong_call("`split` needs at least two axes", axes.span, (f"write {USAGE['split']}",)))
    body = evaluator.building(span)
    into: list[Axis | None] = []
    pieces: tuple[int, str] | None = None
    for item in axes.target.items:
        if isinstance(item, tree.Number) and isinstance(item.value, int) and item.value > 0 and pieces is None:
            pieces = (item.value, f"{source}_parts")
            into.append(Axis(pieces[1], Size.of(item.value)))
        else:
            into.append(evaluator.known_axis(_name_of(item, "split")))
    names = [i.id if isinstance(i, tree.Name) else pieces[1] for i in axes.target.items]  # type: ignore[index]
    if into.count(None) > 1:
        raise WeftError(errors.wrong_call("only one of these axes may be new", axes.span, ("declare a `dim`",)))
    size = x.type.axis(source).size
    try:
        for axis in into:
            size = size / axis.size if axis else size
    except InexactSize as error:
        parts = ", ".join(f"{a.name} = {a.size}" for a in (x.type.axis(source), *into) if a)
        raise WeftError(errors.inexact_division(axes.span.text, parts, axes.span)) from error
    filled = tuple(axis or Axis(name, size) for axis, name in zip(into, names, strict=True))
    result = body.op("split", (x,), span, axis=source, into=filled)
    if pieces is None:
        return result
    return tuple(body.op("select", (result,), span, axis=pieces[1], at=i) for i in range(pieces[0]))


@kernel("merge(x, (G, K) -> D)")
def _merge(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axes = arguments.tensor(), arguments.axis_map()
    names = evaluator.axis_names(Given(None, axes.source, None, axes.span))
    need_axis(x, names, axes.source.span)
    target = _name_of(axes.target, "merge")
    size = Size.of(1)
    for name in names:
        size = size * x.type.axis(name).size
    into = evaluator.known_axis(target) or Axis(target, size)
    return evaluator.building(span).op("merge", (x,), span, axes=names, into=into)


def _parts(evaluator: Evaluator, arguments: Arguments, name: str) -> tuple[list[Tensor], tree.AxisMap]:
    tensors = []
    while len(arguments.positional) > 1:
        tensors.append(arguments.tensor())
    return tensors, arguments.axis_map()


@kernel("join(a, b, J -> K)")
def _join(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    tensors, axes = _parts(evaluator, arguments, "join")
    source, target = _name_of(axes.source, "join"), _name_of(axes.target, "join")
    if not tensors:
        raise WeftError(errors.wrong_call("`join` needs tensors before the axes", span, (f"write {USAGE['join']}",)))
    for tensor in tensors:
        need_axis(tensor, (source,), axes.source.span)
    tensors = evaluator.same_axes(tensors, source, span)
    size = Size.of(0)
    for tensor in tensors:
        size = size + tensor.type.axis(source).size
    to = evaluator.known_axis(target) or Axis(target, size)
    return evaluator.building(span).op("concat", tuple(tensors), span, axis=source, to=to)


@kernel("interleave(a, b, J -> K)")
def _interleave(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    tensors, axes = _parts(evaluator, arguments, "interleave")
    source, target = _name_of(axes.source, "interleave"), _name_of(axes.target, "interleave")
    for tensor in tensors:
        need_axis(tensor, (source,), axes.source.span)
    tensors = evaluator.same_axes(tensors, "", span)
    body = evaluator.building(span)
    pair = Axis(f"{source}_parts", Size.of(len(tensors)))
    stacked = body.op("stack", tuple(tensors), span, axis=pair)
    into = evaluator.known_axis(target) or Axis(target, stacked.type.axis(source).size * pair.size)
    return body.op("merge", (stacked,), span, axes=(source, pair.name), into=into)


@kernel("slice(x, K -> J, start = 0)")
def _slice(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axes = arguments.tensor(), arguments.axis_map()
    source, target = _name_of(axes.source, "slice"), _name_of(axes.target, "slice")
    need_axis(x, (source,), axes.source.span)
    start = arguments.whole("start")
    to = evaluator.known_axis(target)
    if to is None:
        raise WeftError(errors.unknown_name(target, (), axes.target.span))
    return evaluator.building(span).op("slice", (x,), span, axis=source, start=start, to=to)


# ------------------------------------------------------------------ time and place


@kernel("shift(x, T, by = 1)")
def _shift(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = arguments.tensor()
    axis = arguments.one_axis()
    need_axis(x, (axis,), arguments.at)
    return evaluator.building(span).op("shift", (x,), span, axis=axis, by=arguments.whole("by"))


def _of_axis(op: str) -> Run:
    def run(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
        given = arguments.next("an axis")
        names = evaluator.axis_names(given)
        axis = evaluator.known_axis(names[0]) if len(names) == 1 else None
        if axis is None:
            candidates = tuple(evaluator.building(span).known)
            raise WeftError(errors.unknown_name(names[0] if names else "..", candidates, given.span))
        return evaluator.building(span).op(op, (), span, axis=axis)

    return run


@kernel("delays(x, T, W)")
def _delays(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axis = arguments.tensor(), arguments.one_axis()
    need_axis(x, (axis,), arguments.at)
    name = arguments.one_axis()
    to = evaluator.known_axis(name)
    if to is None:
        raise WeftError(errors.unknown_name(name, tuple(evaluator.building(span).known), arguments.at))
    return evaluator.building(span).op("delays", (x,), span, axis=axis, to=to)


@kernel("size(T)")
def _size(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    name = arguments.one_axis()
    axis = evaluator.known_axis(name)
    if axis is None:
        raise WeftError(errors.unknown_name(name, tuple(evaluator.building(span).known), arguments.at))
    body = evaluator.building(span)
    if axis.size.is_constant:
        return body.constant(float(axis.size.value), span)
    return body.op("size", (), span, axis=axis)


kernel("position(T)")(_of_axis("position"))
kernel("index(J)")(_of_axis("index"))


@kernel("dropout(x, 0.1)")
def _dropout(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, given = arguments.tensor(), arguments.next("a rate")
    value = evaluator.value_of(given)
    rate = number(value)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise WeftError(errors.parameter_mismatch("rate", "a number from 0 up to 1", describe(value), given.span))
    body = evaluator.building(span)
    return body.op("dropout", (x,), span, name=body.site("dropout"), rate=float(rate)) if rate else x


# ------------------------------------------------------------------ elementwise


def _elementwise(name: str, op: str, arity: int, real: bool) -> None:
    letters = "x" if arity == 1 else "a, b"

    @kernel(f"{name}({letters})")
    def run(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
        values = [evaluator.value_of(arguments.next("a value")) for _ in range(arity)]
        numbers = [number(v) for v in values]
        if all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            if evaluator.elaborator.symbolic and name in _WHOLE and isinstance(numbers[0], float):
                return _unknown(name, numbers, span)
            return _static(name, numbers, span)
        if evaluator.elaborator.symbolic and not any(n is None for n in numbers):
            return _unknown(name, numbers, span)
        tensors = tuple(evaluator.lift(v, span) for v in values)
        if real:
            tensors = tuple(evaluator.as_real(t) for t in tensors)
        return evaluator.building(span).op(op, evaluator.same_dtype(tensors, span), span)


def _unknown(name: str, numbers: list[Any], span: Span) -> Any:
    """The stand-in for what depends on sizes without numbers: a size where whole numbers give one, else a number."""
    whole = name in _WHOLE or (name in _KEEPING and all(isinstance(n, int | Size) for n in numbers))
    return Size.symbol(f"({span.text})") if whole else 0.5


def _static(name: str, numbers: list[Any], span: Span) -> Any:
    if name in ("maximum", "minimum"):
        return max(numbers) if name == "maximum" else min(numbers)
    try:
        return bounded(STATIC_FUNCTIONS[name](*numbers))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, OverflowError):
            limit = WHOLE if name in _WHOLE else REAL
            raise WeftError(errors.too_large(f"`{name}` of {numbers[0]}", limit, span)) from error
        raise WeftError(
            errors.number_out_of_range(f"`{name}` of {numbers[0]}: there is no real result", span)
        ) from error


_WHOLE = ("floor", "ceil", "round", "int")  # of a number known when the model is compiled: a whole number
_KEEPING = ("minimum", "maximum", "abs")  # whole numbers stay whole
_REAL = ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor", "ceil", "round")
for _op in ELEMENTWISE:
    if _op.name in (*_REAL, "abs"):
        _elementwise(_op.name, _op.name, 1, _op.name in _REAL)
for _name in ("maximum", "minimum"):
    _elementwise(_name, _name, 2, False)


@kernel("choose(condition, a, b)")
def _choose(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    condition, a, b = arguments.tensor(), arguments.tensor(), arguments.tensor()
    a, b = evaluator.same_dtype((a, b), span)
    return evaluator.building(span).op("where", (condition, a, b), span)


@kernel("real(x)")
def _as_real(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
    value = evaluator.value_of(arguments.next("a value"))
    static = number(value)
    if isinstance(static, int | float):
        return float(static)
    if isinstance(static, Size) and evaluator.elaborator.symbolic:
        return 0.5
    tensor = evaluator.lift(value, span)
    return tensor if tensor.type.dtype == "real" else evaluator.building(span).op("cast", (tensor,), span, dtype="real")


@kernel("int(x)")
def _as_int(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
    value = evaluator.value_of(arguments.next("a value"))
    static = number(value)
    if evaluator.elaborator.symbolic and isinstance(static, Size | float):
        return static if isinstance(static, Size) else _unknown("int", [static], span)
    if isinstance(static, int | float):
        return _static("int", [static], span)
    tensor = evaluator.lift(value, span)
    return tensor if tensor.type.dtype == "int" else evaluator.building(span).op("cast", (tensor,), span, dtype="int")


# ------------------------------------------------------------------ initialisers


def _initialiser(kind: str, defaults: Mapping[str, float | None]) -> None:
    shown = ", ".join(f"{n} = {v if v is not None else '..'}" for n, v in defaults.items())

    @kernel(f"{kind}({shown})")
    def run(evaluator: Evaluator, arguments: Arguments, span: Span) -> Init:
        values = []
        for name, default in defaults.items():
            given = arguments.optional(name)
            if given is None and default is None:
                raise WeftError(errors.wrong_call(f"`{kind}` needs `{name}`", span, (f"write {USAGE[kind]}",)))
            found = evaluator.value_of(given) if given else default
            value = number(found)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise WeftError(
                    errors.parameter_mismatch(name, "a number", describe(found), given.span if given else span)
                )
            if name == "std" and value < 0:
                raise WeftError(
                    errors.parameter_mismatch(
                        name, "a number of at least 0", describe(value), given.span if given else span
                    )
                )
            values.append((name, float(value)))
        return Init(kind, tuple(values))


_initialiser("normal", {"std": None})
_initialiser("truncated_normal", {"std": None})
_initialiser("uniform", {"low": None, "high": None})
_initialiser("constant", {"value": None})

BUILTINS: Mapping[str, Any] = {
    **TABLE,
    "zeros": Init("constant", (("value", 0.0),)),
    "ones": Init("constant", (("value", 1.0),)),
    "pi": math.pi,
}

