"""Rules written in `.llm`: `rule name(x: [.., D]) { from .. into .. where .. }`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...lang import errors, tree
from ...lang.axes import TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import InexactSize, Size
from ..ir.module import Function
from ..lower.numbers import NotStatic, binary
from .rule import Condition, Number, Rule, rest_name, template_axis

# What elaboration provides: an expression over typed parameters as a function, and the functions that it calls.
Parameters = tuple[tuple[str, TensorType], ...]
Lower = Callable[[str, Parameters, tree.Expression], tuple[Function, Mapping[str, Function]]]


def rule_from_tree(item: tree.Rule, lower: Lower) -> Rule:
    """The rule that an item of a `.llm` file writes down.

    `lower(name, parameters, expression)` elaborates an expression in the scope of the file with the parameters as
    tensors: axes of a template are symbols of their own names, a `..` is one axis called `..`, a parameter of type
    `real`, `int` or `bool` is a tensor without axes. A tuple becomes several outputs. Raises WeftError (E0806, E0808)
    at what cannot stand in a rule.
    """
    parameters = tuple((p.name, parameter_type(item, p)) for p in item.parameters)
    before, called = lower(f"{item.name}.before", parameters, item.before)
    after, also = lower(f"{item.name}.after", parameters, item.after)
    condition = None if item.condition is None else condition_from_tree(item, item.condition, parameters)
    equation = f"{item.before.span.text} = {item.after.span.text}"
    return Rule(item.name, before, after, {**called, **also}, condition, equation, item.span)


def parameter_type(item: tree.Rule, parameter: tree.Parameter) -> TensorType:
    """The template of a variable's type."""
    type = parameter.type
    if isinstance(type, tree.NamedType) and type.name in ("real", "int", "bool"):
        return TensorType((), type.name)
    if not isinstance(type, tree.TensorTypeExpression) or parameter.default is not None:
        problem = f"`{parameter.name}` must have the type of a tensor, or `real`, `int` or `bool`, and no default"
        raise WeftError(errors.unusable_rule(item.name, problem, parameter.span))
    axes, rests = [], 0
    for entry in type.axes:
        if isinstance(entry, tree.Rest):
            axes.append(template_axis(rest_name(rests)))
            rests += 1
        elif isinstance(entry, tree.Name):
            axes.append(template_axis(entry.id))
        else:
            problem = f"the type of `{parameter.name}` may hold only names of axes and `..`"
            raise WeftError(errors.unusable_rule(item.name, problem, entry.span))
    return TensorType(tuple(axes), type.dtype)


def condition_from_tree(item: tree.Rule, expression: tree.Expression, parameters: Parameters) -> Condition:
    """The condition after `where`: arithmetic on sizes of axes and on scalar variables."""
    known = {a.name for _, type in parameters for a in type.axes} | {n for n, type in parameters if not type.axes}
    _check(item, expression, known)

    def holds(values: Mapping[str, Number | Size]) -> bool:
        try:
            return evaluate(expression, values) is True
        except (KeyError, NotStatic, InexactSize, ZeroDivisionError, OverflowError):
            return False  # what is not known when the model is compiled cannot be promised

    return Condition(expression.span.text, holds)


def evaluate(expression: tree.Expression, values: Mapping[str, Number | Size]) -> Any:
    """The value of a condition, or of a part of it."""
    if isinstance(expression, tree.Name):
        return values[expression.id]
    if isinstance(expression, tree.Number | tree.Boolean):
        return expression.value
    if isinstance(expression, tree.Unary):
        inner = evaluate(expression.operand, values)
        return not inner if expression.op == "not" else binary("-", 0, inner)
    assert isinstance(expression, tree.Binary)
    return binary(expression.op, evaluate(expression.left, values), evaluate(expression.right, values))


def _check(item: tree.Rule, expression: tree.Expression, known: set[str]) -> None:
    if isinstance(expression, tree.Name):
        if expression.id not in known:
            raise WeftError(errors.rule_condition(item.name, expression.span, sorted(known)))
    elif isinstance(expression, tree.Unary):
        _check(item, expression.operand, known)
    elif isinstance(expression, tree.Binary) and expression.op != "|>":
        _check(item, expression.left, known)
        _check(item, expression.right, known)
    elif not isinstance(expression, tree.Number | tree.Boolean):
        raise WeftError(errors.rule_condition(item.name, expression.span, sorted(known)))
