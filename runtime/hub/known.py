"""What the lines of a map say while the keys of a config.json are looked for: values, as far as they are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ...compiler.lower import numbers
from ...compiler.lower.scope import Lazy
from ...compiler.lower.values import Component, FnValue, Placed, PlacedLayers
from ...lang import tree
from ...lang.config_plan import ConfigPlan
from ...lang.config_values import FUNCTIONS
from ...lang.program import Unit

Known = Mapping[tuple[str, ...], Any]
"""Keys of config.json with their values; None for keys that must not be there."""


@dataclass(frozen=True)
class Facts:
    """`root` is the placed model, `stored` the names of the tensors that will be written."""

    plan: ConfigPlan
    root: Placed
    stored: Collection[str]

    def value(self, path: tuple[str, ...]) -> tuple[bool, Any]:
        """Whether the model has a path, and what is there."""
        here: Any = self.root
        for name in path:
            if isinstance(here, PlacedLayers):
                here = here.bodies[0]
            if not isinstance(here, Placed):
                return False, None
            entry = here.scope.entries.get(name)
            if entry is None:
                return False, None
            here = entry.force(here.component.declaration.span) if isinstance(entry, Lazy) else entry
        return True, plain(here)


@dataclass(frozen=True)
class Place:
    """Where an expression stands: its file, and what the parameters of an inlined fn are (expressions elsewhere)."""

    facts: Facts
    unit: Unit
    names: Mapping[str, tuple[Self, tree.Expression]]

    def path(self, e: tree.Expression) -> tuple[str, ...] | None:
        """The key that an expression is, if it is one."""
        if isinstance(e, tree.Attribute):
            if isinstance(e.value, tree.Name) and e.value.id == "config":
                return (e.name,)
            place, inner = self, e.value
            while isinstance(inner, tree.Name) and place.meaning(inner)[1] is not None:
                place, found = place.meaning(inner)
                assert found is not None
                inner = found
            if isinstance(inner, tree.Call):  # `default(rope_parameters, rope_scaling)`: the first form is written
                first = inner.arguments[0].value if inner.arguments else inner
                inner = first
            above = place.path(inner)
            return None if above is None else (*above, e.name)
        if isinstance(e, tree.Name) and self.meaning(e)[1] is None:
            plan = self.facts.plan
            if e.id != "none" and e.id not in plan.parameters and self.unit.find(e.id) is None:
                return (e.id,)
        return None

    def meaning(self, e: tree.Name) -> tuple[Self, tree.Expression | None]:
        """What a parameter of an inlined fn, or a `let`, stands for, and where that is said."""
        if e.id in self.names:
            return self.names[e.id]
        lets = self.facts.plan.lets()
        if e.id in lets:
            unit, expression = lets[e.id]
            return replace(self, unit=unit, names={}), expression
        return self, None

    def evaluate(self, e: tree.Expression, known: Known) -> tuple[bool, Any]:
        """The value of an expression when everything in it is known."""
        path = self.path(e)
        if path is not None:
            return path in known and known[path] is not None, known.get(path)
        match e:
            case tree.Number() | tree.String() | tree.Boolean():
                return True, e.value
            case tree.Name():
                place, inner = self.meaning(e)
                if inner is not None:
                    return place.evaluate(inner, known)
                if e.id in self.facts.plan.parameters:
                    return self.facts.value((e.id,))
            case tree.Unary(op="-"):
                ready, value = self.evaluate(e.operand, known)
                return ready and is_number(value), -value if ready and is_number(value) else None
            case tree.Call() if self.called(e) in FUNCTIONS:
                each = [self.evaluate(a.value, known) for a in e.arguments]
                of_lists = self.called(e) in ("text", "replaced", "place")
                if all(ready and (of_lists or is_number(value)) for ready, value in each):
                    return True, FUNCTIONS[self.called(e)](*(value for _, value in each))
            case tree.Call() if self.called(e) == "default":
                for argument in e.arguments:
                    absent = self.path(argument.value)
                    if absent is None or known.get(absent, absent) is not None:
                        return self.evaluate(argument.value, known)
            case tree.Call() if self.called(e) == "length":
                ready, value = self.evaluate(e.arguments[0].value, known)
                return (True, len(value)) if ready and isinstance(value, list | str) else (False, None)
            case tree.Call() if self.called(e) == "stored":
                ready, name = self.evaluate(e.arguments[0].value, known)
                return ready, name in self.facts.stored
            case tree.Binary(op="+" | "-" | "*" | "/" | "^"):
                left, a = self.evaluate(e.left, known)
                right, b = self.evaluate(e.right, known)
                if left and right and is_number(a) and is_number(b) and not (e.op == "/" and b == 0):
                    return True, {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0, "^": a**b}[e.op]
        return False, None

    def called(self, e: tree.Call) -> str:
        return e.function.id if isinstance(e.function, tree.Name) else ""

    def is_item(self, name: str, want: Any) -> bool:
        found = self.unit.find(name)
        return (
            found is not None and isinstance(want, Component | FnValue) and want.declaration is found[1]
            and not (want.bound if isinstance(want, FnValue) else want.arguments)
        )


def plain(value: Any) -> Any:
    """Sizes and axes as numbers, lists as lists; everything else as it is."""
    number = numbers.number(value)
    if number is not None:
        return number
    if isinstance(value, Placed):
        return value.component
    return [plain(v) for v in value] if isinstance(value, tuple) else value


def same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
