"""The two sides of a rule as functions of its variables, over axes that stand for any axes."""

from __future__ import annotations

from collections.abc import Mapping

from ...lang import errors, tree
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.program import Unit
from ...lang.sizes import Size
from ..ir.module import Function
from ..rules.rule import Condition, Rule, rest_name, template_axis
from .body import Body
from .elaborate import Elaborator
from .expressions import Evaluator
from .model import deep_recursion
from .scope import Scope
from .values import Tensor


def lower_rule(unit: Unit, item: tree.Rule) -> Rule:
    """A `rule` item as a Rule. Raises WeftError when a side does not type, or the sides do not fit each other."""
    elaborator = Elaborator(template=True)
    with deep_recursion():
        before = _side(elaborator, unit, item, item.before, "from")
        after = _side(elaborator, unit, item, item.after, "into")
    functions = {n: f for n, f in elaborator.functions.items() if n not in (before.name, after.name)}
    return Rule(item.name, before, after, functions, _condition(unit, item), _equation(item), item.span)


def _side(elaborator: Elaborator, unit: Unit, item: tree.Rule, expression: tree.Expression, word: str) -> Function:
    body = Body(None)
    scope = Scope(unit)
    for parameter in item.parameters:
        scope.entries[parameter.name] = body.input(parameter.name, _variable(parameter), parameter.span)
        body.name(scope.entries[parameter.name], parameter.name)
    evaluator = Evaluator(elaborator, scope, body)
    value = evaluator.evaluate(expression)
    several = isinstance(value, tuple)
    results: list[Tensor] = [evaluator.lift(v, expression.span) for v in (value if several else (value,))]
    body.graph.outputs = tuple(t.value for t in results)
    outputs = tuple(f"value.{i}" for i in range(len(results))) if several else ("value",)
    name = elaborator.add_function(
        f"{item.name}.{word}", body, tuple(body.inputs), outputs, block="", method=word, span=expression.span
    )
    return elaborator.functions[name]


def _variable(parameter: tree.Parameter) -> TensorType:
    """The type of a variable: `[.., D]` over template axes, a scalar for `real` and `int`."""
    if isinstance(parameter.type, tree.NamedType) and parameter.type.name in ("real", "int"):
        return TensorType((), parameter.type.name)
    if not isinstance(parameter.type, tree.TensorTypeExpression):
        span = parameter.type.span if parameter.type else parameter.span
        raise WeftError(errors.wrong_kind("no type of a tensor or number", "a type such as `[.., D]` or `real`", span))
    axes: list[Axis] = []
    rests = 0
    for entry in parameter.type.axes:
        if isinstance(entry, tree.Rest):
            axes.append(template_axis(rest_name(rests)))
            rests += 1
        elif isinstance(entry, tree.Name):
            axes.append(template_axis(entry.id))
        else:
            raise WeftError(errors.nameless_axis(entry.span.text, entry.span))
    return TensorType(tuple(axes), parameter.type.dtype)


def _condition(unit: Unit, item: tree.Rule) -> Condition | None:
    if item.condition is None:
        return None
    condition = item.condition

    def holds(values: Mapping[str, bool | int | float | Size]) -> bool:
        scope = Scope(unit)
        for name, value in values.items():
            scope.entries[name] = Axis(name, value) if isinstance(value, Size) else value
        return Evaluator(Elaborator(), scope).evaluate(condition) is True

    return Condition(condition.span.text, holds)


def _equation(item: tree.Rule) -> str:
    return item.doc.strip() or f"{item.before.span.text} = {item.after.span.text}"
