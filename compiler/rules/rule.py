"""A rule: two functions of the same variables, of which the second may stand wherever the first is found.

The sides are templates: a variable of type `[.., D]` has an axis called `..`, which stands for any axes in a row, and
an axis `D` whose size is the symbol `D`. A variable of type `[]` is a scalar; it matches compile-time arguments too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ...lang.source import Span
from ..ir.module import Function
from ..ir.needs import callees
from ..ir.order import called

Number = bool | int | float

# Operations that belong to one place of one model.
_BOUND = ("param", "state", "ambient", "dropout", "repeat", "scan")


@dataclass(frozen=True)
class Condition:
    """When a rule may be used: `holds` gets the numbers of its scalars and the sizes of its axes by name."""

    text: str
    holds: Callable[[Mapping[str, Number | Size]], bool]


@dataclass(frozen=True)
class Rule:
    """`before` may be replaced by `after`.

    Both have the same inputs (the variables) and the same output types. `functions` are those that the sides call, by
    name; a call matches calls of any function of the same definition. `equation` says in mathematics why it holds.
    Raises WeftError (E0806) when the sides do not fit each other.
    """

    name: str
    before: Function
    after: Function
    functions: Mapping[str, Function] = field(default_factory=dict)
    condition: Condition | None = None
    equation: str = ""
    source: Span | None = None

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise WeftError(errors.unusable_rule(self.name, problem, self.source))

    @property
    def variables(self) -> tuple[tuple[str, TensorType], ...]:
        """Names and types of what the rule is about."""
        return self.before.inputs

    @property
    def makes(self) -> tuple[str, ...]:
        """Definitions of the functions that `after` calls."""
        names = called(self.after)
        return tuple(dict.fromkeys(self.functions[n].definition for n in names))


def is_rest(name: str) -> bool:
    """Whether the name of an axis stands for any axes in a row."""
    return name.startswith("..") or name.endswith("..")


def template_axis(name: str) -> Axis:
    """The axis of a template: its size is a symbol of the same name."""
    return Axis(name, Size.symbol(name))


def rest_name(count: int) -> str:
    """The name of the first, second, ... `..` of one type."""
    return ".." if count == 0 else f"..{count + 1}"


def _problem(rule: Rule) -> str:
    before, after = rule.before, rule.after
    if before.inputs != after.inputs:
        return "its two sides have different variables"
    if len(before.graph.outputs) != len(after.graph.outputs):
        return f"one side has {len(before.graph.outputs)} values, the other {len(after.graph.outputs)}"
    for left, right in zip(before.output_types, after.output_types, strict=True):
        if left.dtype != right.dtype or set(left.axes) != set(right.axes):
            return f"one side is {left}, the other {right}"
    if any(before.graph[v].op in ("input", "const") for v in before.graph.outputs):
        return "every value of its left side must be made by an operation"
    for function in (before, after):
        for node in function.graph.nodes():
            if node.op in _BOUND:
                return f"`{node.op}` cannot stand in a rule"
            for name in callees(node):
                if name not in rule.functions:
                    return f"it calls `{name}`, which does not come with it"
                if not rule.functions[name].definition:
                    return f"it calls `{name}`, which has no definition to be known by"
    unread = [name for name, _ in before.inputs if name not in _read(before)]
    if unread:
        return f"`{unread[0]}` does not stand on its left side, so nothing says what it is"
    return ""


def _read(function: Function) -> set[str]:
    """Names of the inputs that an output depends on."""
    graph = function.graph
    waiting, seen = [v.node for v in graph.outputs], set[int]()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [v.node for v in graph[node].operands]
    return {graph[i]["name"] for i in seen if graph[i].op == "input"}
