"""The functions of the kernel as a spec calls them: which arguments are tensors, axes or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.axes import Axis
from ...lang.diagnostics import Label, WeftError
from ...lang.nearest import nearest
from ...lang.sizes import InexactSize, Size
from ...lang.source import Span
from ..ir.elementwise import ELEMENTWISE
from ..ir.module import Init
from .numbers import REAL, STATIC_FUNCTIONS, number
from .values import Builtin, Tensor, describe

if TYPE_CHECKING:
    from .expressions import Evaluator


class Arguments:
    """The arguments of one call of a kernel function, taken by position or by name."""

    def __init__(self, evaluator: Evaluator, name: str, given: tuple[Given, ...], span: Span) -> None:
        self.evaluator, self.name, self.span = evaluator, name, span
        self.positional = [g for g in given if g.name is None]
        self.named = {g.name: g for g in given if g.name is not None}
        self.at = span  # where the last axes stood

    def next(self, what: str) -> Given:
        if not self.positional:
            raise WeftError(errors.wrong_call(f"`{self.name}` needs {what}", self.span, (f"write {USAGE[self.name]}",)))
        return self.positional.pop(0)

    def optional(self, name: str) -> Given | None:
        return self.named.pop(name, None) or (self.positional.pop(0) if self.positional else None)

    def tensor(self, what: str = "a tensor") -> Tensor:
        return self.evaluator.as_tensor(self.next(what))

    def axes(self, what: str = "an axis") -> tuple[str, ...]:
        given = self.next(what)
        self.at = given.span
        return self.evaluator.axis_names(given)

    def one_axis(self) -> str:
        names = self.axes()
        if len(names) != 1:
            raise WeftError(
                errors.wrong_call(f"`{self.name}` works along one axis", self.at, (f"write {USAGE[self.name]}",))
            )
        return names[0]

    def remaining_axes(self) -> tuple[str, ...]:
        names = self.axes()
        while self.positional:
            names += self.axes()
        return tuple(dict.fromkeys(names))

    def axis_map(self) -> tree.AxisMap:
        given = self.next("axes, as in `T -> S`")
        if not isinstance(given.tree, tree.AxisMap):
            raise WeftError(errors.wrong_call(f"`{self.name}` needs axes, as in `T -> S`", given.span))
        return given.tree

    def whole(self, name: str) -> int:
        given = self.named.pop(name, None) or self.next(f"a number `{name}`")
        found = self.evaluator.value_of(given)
        value = number(found)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WeftError(errors.parameter_mismatch(name, "a whole number", describe(found), given.span))
        return value

    def done(self) -> None:
        extra = self.positional[0] if self.positional else next(iter(self.named.values()), None)
        if extra is not None:
            raise WeftError(
                errors.wrong_call(
                    f"`{self.name}` does not take this", extra.span, (f"write {USAGE[self.name]}",), "not taken"
                )
            )


class Given:
    """One argument: a tree that is not evaluated yet, or a value that came through a pipe."""

    def __init__(self, name: str | None, tree: tree.Expression | None, value: Any, span: Span) -> None:
        self.name, self.tree, self.value, self.span = name, tree, value, span


Run = Callable[["Evaluator", Arguments, Span], Any]
USAGE: dict[str, str] = {}
_TABLE: dict[str, Any] = {}


def kernel(usage: str) -> Callable[[Run], Run]:
    """Register a kernel function under the name its usage line starts with."""
    name = usage.split("(")[0]

    def register(run: Run) -> Run:
        def checked(evaluator: Evaluator, given: tuple[Given, ...], span: Span) -> Any:
            arguments = Arguments(evaluator, name, given, span)
            result = run(evaluator, arguments, span)
            arguments.done()
            return result

        USAGE[name] = f"`{usage}`"
        _TABLE[name] = Builtin(name, checked)
        return run

    return register


def _need_axis(tensor: Tensor, names: tuple[str, ...], given_span: Span) -> None:
    for name in names:
        if not tensor.type.has(name):
            near = nearest(name, tensor.type.names)
            raise WeftError(
                errors.not_an_axis(
                    f"`{name}` is not an axis of {tensor.type}", given_span,
                    (Label(tensor.span, f"this is {tensor.type}"),), f"did you mean `{near}`?" if near else "",
                )
            )


# ------------------------------------------------------------------ contractions and reductions


@kernel("dot(a, b, K)")
def _dot(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    a, b = arguments.tensor(), arguments.tensor()
    at = arguments.positional[0].span if arguments.positional else span
    over = arguments.remaining_axes()
    for name in over:
        if not (a.type.has(name) and b.type.has(name)):
            both = [n for n in a.type.names if b.type.has(n)]
            help = f"did you mean `{both[-1]}`? Both operands have it." if both else "the operands share no axis"
            labels = tuple(Label(t.span, f"this is {t.type}") for t in (a, b) if t.span != at)
            raise WeftError(
                errors.not_an_axis(f"`{name}` is not an axis of both operands", at, labels, help, "contracted here")
            )
    a, b = evaluator.same_dtype((a, b), span)
    return evaluator.building(span).op("dot", (a, b), span, over=over)


def _reduction(name: str) -> None:
    @kernel(f"{name}(x, K)")
    def run(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
        x = arguments.tensor()
        at = arguments.positional[0].span if arguments.positional else span
        rest = any(isinstance(g.tree, tree.Rest) for g in arguments.positional)
        over = arguments.remaining_axes()
        if rest:  # `..` may stand for axes that this operand lacks
            over = tuple(n for n in over if x.type.has(n))
        _need_axis(x, over, at)
        return evaluator.building(span).op(name, (x,), span, over=over) if over else x


for _name in ("sum", "mean", "max", "min"):
    _reduction(_name)


@kernel("argmax(x, V)")
def _argmax(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x, axes = arguments.tensor(), arguments.axes()
    _need_axis(x, axes, arguments.at)
    return evaluator.building(span).op("argmax", (x,), span, over=axes)


@kernel("softmax(x, S where mask)")
def _softmax(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = evaluator.as_real(arguments.tensor())
    given = arguments.next("an axis")
    operands: tuple[Tensor, ...] = (x,)
    axis: tree.Expression | None = given.tree
    if isinstance(given.tree, tree.Where):
        operands += (evaluator.as_tensor(Given(None, given.tree.mask, None, given.tree.mask.span)),)
        axis = given.tree.value
    names = evaluator.axis_names(Given(None, axis, given.value, given.span))
    _need_axis(x, names, given.span)
    if len(names) != 1:
        raise WeftError(errors.wrong_call("`softmax` runs along one axis", given.span, ("merge the axes first",)))
    return evaluator.building(span).op("softmax", operands, span, over=names[0])


@kernel("best(x, count, E)")
def _best(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    x = arguments.tensor()
    count = arguments.whole("count")
    axis = arguments.one_axis()
    _need_axis(x, (axis,), arguments.at)
    return evaluator.building(span).op("top", (x,), span, over=axis, count=count)


@kernel("take(table, ids, V)")
def _take(evaluator: Evaluator, arguments: Arguments, span: Span) -> Tensor:
    table, ids = arguments.tensor(), arguments.tensor()
    axis = arguments.one_axis()
    _need_axis(table, (axis,), arguments.at)
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
    _need_axis(x, (source,), axes.source.span)
    size = evaluator.elaborator.remembered(x.type.axis(source).size)
    return evaluator.building(span).op("rename", (x,), span, axis=source, to=Axis(target, size))


@kernel("split(x, K -> (2, J))")
def _split(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
    x, axes = arguments.tensor(), arguments.axis_map()
    source = _name_of(axes.source, "split")
    _need_axis(x, (source,), axes.source.span)
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
    _need_axis(x, names, axes.source.span)
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
        _need_axis(tensor, (source,), axes.source.span)
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
        _need_axis(tensor, (source,), axes.source.span)
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
    _need_axis(x, (source,), axes.source.span)
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
    _need_axis(x, (axis,), arguments.at)
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
            return _static(name, numbers, span)
        if evaluator.elaborator.symbolic and not any(n is None for n in numbers):
            return 0.5  # stands for a number that depends on sizes without numbers
        tensors = tuple(evaluator.lift(v, span) for v in values)
        if real:
            tensors = tuple(evaluator.as_real(t) for t in tensors)
        return evaluator.building(span).op(op, evaluator.same_dtype(tensors, span), span)


def _static(name: str, numbers: list[Any], span: Span) -> Any:
    if name in ("maximum", "minimum"):
        return max(numbers) if name == "maximum" else min(numbers)
    try:
        return STATIC_FUNCTIONS[name](*numbers)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, OverflowError):
            raise WeftError(errors.too_large(f"`{name}` of {numbers[0]}", REAL, span)) from error
        raise WeftError(
            errors.number_out_of_range(f"`{name}` of {numbers[0]}: there is no real result", span)
        ) from error


_REAL = ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor")
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
    tensor = evaluator.lift(value, span)
    return tensor if tensor.type.dtype == "real" else evaluator.building(span).op("cast", (tensor,), span, dtype="real")


@kernel("int(x)")
def _as_int(evaluator: Evaluator, arguments: Arguments, span: Span) -> Any:
    value = evaluator.value_of(arguments.next("a value"))
    static = number(value)
    if isinstance(static, int | float):
        return int(static)
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
    **_TABLE,
    "zeros": Init("constant", (("value", 0.0),)),
    "ones": Init("constant", (("value", 1.0),)),
    "pi": math.pi,
}

