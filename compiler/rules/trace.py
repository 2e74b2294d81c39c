"""Rules written in Python: two functions over traced values.

    @rule(x="[.., D]", y="[.., D]")
    def double():
        '''x y + x y = 2 x y'''
        return (lambda x, y: x * y + x * y), (lambda x, y: 2.0 * x * y)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...lang import errors
from ...lang.axes import AxisError, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ..ir.control import call
from ..ir.graph import Graph, Value
from ..ir.module import Function
from ..ir.ops import OPS, build, constant
from ..ir.splice import free_site
from .instantiate import specialise
from .rule import Condition, Number, Rule, rest_name, template_axis

_TYPE = re.compile(r"(real|int|bool)?\s*(?:\[([^\]]*)\])?")
_AXIS = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, eq=False)
class Traced:
    """A value of a rule's side: operating on it records the operation."""

    side: _Side
    value: Value

    @property
    def type(self) -> TensorType:
        return self.side.graph.type(self.value)

    def __add__(self, other: Operand) -> Traced:
        return self.side.operation("add", self, other)

    def __radd__(self, other: Operand) -> Traced:
        return self.side.operation("add", other, self)

    def __sub__(self, other: Operand) -> Traced:
        return self.side.operation("sub", self, other)

    def __rsub__(self, other: Operand) -> Traced:
        return self.side.operation("sub", other, self)

    def __mul__(self, other: Operand) -> Traced:
        return self.side.operation("mul", self, other)

    def __rmul__(self, other: Operand) -> Traced:
        return self.side.operation("mul", other, self)

    def __truediv__(self, other: Operand) -> Traced:
        return self.side.operation("div", self, other)

    def __rtruediv__(self, other: Operand) -> Traced:
        return self.side.operation("div", other, self)

    def __pow__(self, other: Operand) -> Traced:
        return self.side.operation("pow", self, other)

    def __neg__(self) -> Traced:
        return self.side.operation("neg", self)

    def __and__(self, other: Operand) -> Traced:
        return self.side.operation("and", self, other)

    def __or__(self, other: Operand) -> Traced:
        return self.side.operation("or", self, other)

    def __invert__(self) -> Traced:
        return self.side.operation("not", self)


Operand = Traced | bool | int | float


@dataclass(eq=False)
class _Side:
    """One side of a rule while its function runs."""

    graph: Graph = field(default_factory=Graph)
    functions: dict[str, Function] = field(default_factory=dict)
    sites: set[str] = field(default_factory=set)

    def operation(self, op: str, *operands: Operand, **attributes: Any) -> Traced:
        return Traced(self, build(self.graph, op, *map(self.given, operands), **attributes))

    def given(self, operand: Operand) -> Value:
        return operand.value if isinstance(operand, Traced) else constant(self.graph, operand)


def apply(op: str, *operands: Operand, **attributes: Any) -> Traced:
    """A primitive on traced values: `apply("mean", x, over=("D",))`, `apply("rsqrt", x)`. At least one is traced."""
    if op not in OPS:
        raise WeftError(errors.unusable_rule("?", f"there is no operation `{op}`", None))
    return _side(operands).operation(op, *operands, **attributes)


@dataclass(frozen=True)
class Callee:
    """A function that a rule may call: a template and the functions it calls itself.

    Numbers among the arguments become compile-time arguments. Returns one traced value, or a tuple of them.
    """

    function: Function
    functions: Mapping[str, Function] = field(default_factory=dict)

    def __call__(self, *arguments: Operand) -> Any:
        side = _side(arguments)
        types = tuple(a.type if isinstance(a, Traced) else a for a in arguments)
        name = specialise(self.function, types, self.functions, side.functions)
        values = tuple(a.value for a in arguments if isinstance(a, Traced))
        site = free_site(self.function.name, side.sites)
        side.sites.add(site)
        results = call(side.graph, name, values, side.functions[name].output_types, site)
        traced = tuple(Traced(side, v) for v in results)
        return traced[0] if len(traced) == 1 else traced


Side = Callable[..., Traced | tuple[Traced, ...]]


def rule(
    where: Callable[[Mapping[str, Number | Size]], bool] | None = None, **variables: str
) -> Callable[[Callable[[], tuple[Side, Side]]], Rule]:
    """A decorator: the function returns the two sides, and its docstring is the equation.

    `variables` are types as in `.llm`: `"[.., D]"`, `"int[T]"`, `"real"`. `where` gets the numbers of scalars and the
    sizes of axes by name. Raises WeftError (E0806) when the sides do not fit.
    """

    def made(function: Callable[[], tuple[Side, Side]]) -> Rule:
        name = function.__name__
        types = tuple((key, template_type(text, name)) for key, text in variables.items())
        before, after = function()
        functions: dict[str, Function] = {}
        left = _traced(f"{name}.before", types, before, functions, name)
        right = _traced(f"{name}.after", types, after, functions, name)
        condition = Condition(where.__doc__ or where.__name__, where) if where else None
        return Rule(name, left, right, functions, condition, (function.__doc__ or "").strip())

    return made


def template_type(text: str, rule: str) -> TensorType:
    """The type of a variable from text. Raises WeftError (E0806)."""
    found = _TYPE.fullmatch(text.strip())
    if found is None or (found[1] is None and found[2] is None):
        raise WeftError(errors.unusable_rule(rule, f"`{text}` is not a type such as `[.., D]` or `real`", None))
    axes, rests = [], 0
    for part in (p.strip() for p in (found[2] or "").split(",") if p.strip()):
        if part == "..":
            axes.append(template_axis(rest_name(rests)))
            rests += 1
        elif _AXIS.fullmatch(part):
            axes.append(template_axis(part))
        else:
            problem = f"`{part}` in `{text}` is neither `..` nor the name of an axis"
            raise WeftError(errors.unusable_rule(rule, problem, None))
    return TensorType(tuple(axes), found[1] or "real")


def _traced(
    name: str, types: tuple[tuple[str, TensorType], ...], function: Side, functions: dict[str, Function], rule: str
) -> Function:
    side = _Side(functions=functions)
    inputs = tuple(Traced(side, build(side.graph, "input", name=key, type=type)) for key, type in types)
    try:
        result = function(*inputs)
    except AxisError as error:
        raise WeftError(errors.unusable_rule(rule, f"`{name}`: {error.message}", None)) from error
    results = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(r, Traced) and r.side is side for r in results):
        raise WeftError(errors.unusable_rule(rule, "a side must return values made from its variables", None))
    side.graph.outputs = tuple(r.value for r in results)
    outputs = ("value",) if len(results) == 1 else tuple(f"value.{i}" for i in range(len(results)))
    return Function(name, side.graph, types, outputs)


def _side(operands: tuple[Operand, ...]) -> _Side:
    traced = next((o for o in operands if isinstance(o, Traced)), None)
    if traced is None:
        raise WeftError(errors.unusable_rule("?", "an operation needs at least one value of the rule", None))
    return traced.side
