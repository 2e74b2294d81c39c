"""A config.json for a model that was made here: the config half of a map, turned around.

Each line of a map says what a value of the model is, given keys. Here the value is known and the keys are looked for,
line by line. What comes out is read again by the map, and only a config that gives the very same model is used: so a
wrong guess costs an export, never a wrong file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...compiler.lower.values import Component, FnValue
from ...lang import errors, tree
from ...lang.config_values import is_static
from ...lang.diagnostics import WeftError
from ...lang.program import Unit
from .known import Facts, Known, Place, is_number, plain, same

LEFT_OUT = object()
"""What `none` stands for: nothing is said, and the default counts."""


@dataclass(frozen=True)
class Solver(Facts):
    """The lines of a map as equations for the keys, given a model."""

    def config(self) -> dict[str, Any]:
        """The keys that say what this model is. Raises WeftError at the first line that cannot be turned around."""
        known: Known = {}
        later = []  # conditions on keys that the other lines find
        for unit, line in self.plan.requirements():
            found = Equation(self, unit, {}).holds(line.condition, True, known)
            if found is None:
                later.append((unit, line))
            else:
                known = found
        for unit, entry in self.plan.entries():
            there, value = self.value(entry.path)
            if not there:
                continue
            found = Equation(self, unit, {}).solve(entry.value, value, known)
            if found is None:
                shown = ".".join(entry.path)
                reason = f"`{entry.value.span.text}` is not {_shown(value)} for any keys"
                raise WeftError(errors.unwritable_config(shown, reason, entry.span))
            known = found
        for unit, line in later:
            found = Equation(self, unit, {}).holds(line.condition, True, known)
            if found is None:
                reason = f"`{line.condition.span.text}` cannot be made to hold"
                raise WeftError(errors.unwritable_config("the model", reason, line.span))
            known = found
        config: dict[str, Any] = {}
        for path, value in known.items():
            if value is None:
                continue
            inner = config
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            inner[path[-1]] = value
        return config

def _shown(value: Any) -> str:
    if isinstance(value, Component | FnValue):
        return f"`{value.declaration.name}(..)`"
    return f"`{value}`"


@dataclass(frozen=True)
class Equation(Place):
    """An expression that has to be a value: the keys for which it is."""

    def solve(self, e: tree.Expression, want: Any, known: Known) -> Known | None:
        """`known` with the keys under which `e` is `want`; None when there are none."""
        if want is LEFT_OUT:
            return self.left_out(e, known)
        ready, value = self.evaluate(e, known)
        if ready:
            return known if same(value, want) else None
        path = self.path(e)
        if path is not None:
            return self.assign(path, want, known)
        match e:
            case tree.Name():
                place, inner = self.meaning(e)
                if inner is not None:
                    return place.solve(inner, want, known)
                # `none` may be any value of the model's own: what is found is read again at the end
                return known if e.id == "none" or self.is_item(e.id, want) else None
            case tree.Tuple() if isinstance(want, list) and len(want) == len(e.items):
                for item, part in zip(e.items, want, strict=True):
                    after = self.solve(item, part, known)
                    if after is None:
                        return None
                    known = after
                return known
            case tree.If():
                return self.choose(e, want, known)
            case tree.Call():
                return self.call(e, want, known)
            case tree.Unary(op="-") if is_number(want):
                return self.solve(e.operand, -want, known)
            case tree.Binary(op="+" | "-" | "*" | "/") if is_number(want):
                return self.arithmetic(e, want, known)
            case tree.Binary() | tree.Unary() if isinstance(want, bool):
                return self.holds(e, want, known)
        return None

    def left_out(self, e: tree.Expression, known: Known) -> Known | None:
        """`known` with the keys under which `e` is `none`: what it would set keeps its default."""
        match e:
            case tree.Name():
                place, inner = self.meaning(e)
                return place.left_out(inner, known) if inner is not None else (known if e.id == "none" else None)
            case tree.If():
                return self.choose(e, LEFT_OUT, known)
            case tree.Call():
                item = self.unit.find(self.called(e))
                if item is not None and isinstance(item[1], tree.Fn) and is_static(item[1]):
                    return self.inline(item[0], item[1], e, LEFT_OUT, known)
                if self.called(e) == "default":
                    return self.first_of(e, LEFT_OUT, known)
        return None

    def assign(self, path: tuple[str, ...], value: Any, known: Known) -> Known | None:
        if path in known:
            return known if same(known[path], value) else None
        if value is not None and not isinstance(value, bool | int | float | str | list):
            return None
        return {**known, path: value}

    def arithmetic(self, e: tree.Binary, want: Any, known: Known) -> Known | None:
        ready, a = self.evaluate(e.left, known)
        if ready and is_number(a):
            rest = {"+": want - a, "-": a - want, "*": want / a if a else None, "/": a / want if want else None}[e.op]
            return None if rest is None else self.solve(e.right, _whole(rest), known)
        ready, b = self.evaluate(e.right, known)
        if ready and is_number(b):
            rest = {"+": want - b, "-": want + b, "*": want / b if b else None, "/": want * b}[e.op]
            return None if rest is None else self.solve(e.left, _whole(rest), known)
        return None

    # ------------------------------------------------------------ calls and choices

    def call(self, e: tree.Call, want: Any, known: Known) -> Known | None:
        name = self.called(e)
        if name == "default":
            return self.first_of(e, want, known)
        if name in ("given", "contains"):
            return self.holds(e, want, known) if isinstance(want, bool) else None
        if name == "text" and isinstance(want, str):
            return self.solve(e.arguments[0].value, list(want), known)
        if name == "replaced" and isinstance(want, list):
            (_, old), (_, new) = (self.evaluate(a.value, known) for a in e.arguments[1:])
            before = [old if v == new else v for v in want]
            return None if old in want else self.solve(e.arguments[0].value, before, known)
        if name in ("int", "real") and is_number(want):
            return self.solve(e.arguments[0].value, want, known)
        item = self.unit.find(name)
        if item is None:
            return None
        if isinstance(item[1], tree.Fn) and is_static(item[1]):
            return self.inline(item[0], item[1], e, want, known)
        if not isinstance(want, Component | FnValue) or want.declaration is not item[1]:
            return None
        return self.arguments(e, want, known)

    def first_of(self, e: tree.Call, want: Any, known: Known) -> Known | None:
        """`default(a, b, ..)`: the first that can be `want`, those before it absent.

        Numbers inside of an object (`rope_parameters`) are left out where what follows says the same.
        """
        for at, argument in enumerate(e.arguments):
            path = self.path(argument.value)
            if path is not None and len(path) > 1 and path not in known and is_number(want):
                for later in e.arguments[at + 1 :]:
                    without = self.solve(later.value, want, {**known, path: None})
                    if without is not None:
                        return without
            found = None if path is not None and want is LEFT_OUT else self.solve(argument.value, want, known)
            if found is not None:
                return found
            if path is None or known.get(path) is not None:
                return None
            known = {**known, path: None}
        return None

    def inline(self, unit: Unit, fn: tree.Fn, e: tree.Call, want: Any, known: Known) -> Known | None:
        names: dict[str, tuple[Equation, tree.Expression]] = {}
        parameters = [p.name for p in fn.signature.parameters]
        for at, argument in enumerate(e.arguments):
            names[argument.name or parameters[at]] = (self, argument.value)
        inside = Equation(self.facts, unit, names)
        for parameter in fn.signature.parameters:
            if parameter.name not in names and parameter.default is not None:
                names[parameter.name] = (inside, parameter.default)
        return inside.body(fn.body, want, known)

    def body(self, body: tree.Body, want: Any, known: Known) -> Known | None:
        names = dict(self.names)
        inside = replace(self, names=names)
        for statement in body.statements:
            assert isinstance(statement, tree.Let)
            names[statement.names[0]] = (inside, statement.value)
        assert body.result is not None
        return inside.solve(body.result, want, known)

    def choose(self, e: tree.If, want: Any, known: Known) -> Known | None:
        branches = ((e.then, True), (e.otherwise, False))
        for branch, truth in sorted(branches, key=lambda b: _is_none(b[0]) != (want is LEFT_OUT)):
            found = self.body(branch, want, known)
            if found is not None:
                found = self.holds(e.condition, truth, found)
            if found is not None:
                return found
        return None

    def arguments(self, e: tree.Call, want: Component | FnValue, known: Known) -> Known | None:
        declaration = want.declaration
        declared = declaration.signature.parameters if isinstance(declaration, tree.Fn) else declaration.parameters
        given = dict(want.bound if isinstance(want, FnValue) else want.arguments)
        free = [p.name for p in declared if not isinstance(p.type, tree.TensorTypeExpression)]
        defaults = {p.name: p.default for p in declared}
        for at, argument in enumerate(e.arguments):
            name = argument.name or free[at]
            if name in given:
                found = self.solve(argument.value, plain(given[name]), known)
            else:
                found, default = self.left_out(argument.value, known), defaults.get(name)
                if found is None and default is not None:
                    ready, value = self.evaluate(default, known)
                    found = self.solve(argument.value, value, known) if ready else None
            if found is None:
                return None
            known = found
        return known

    # ------------------------------------------------------------ conditions

    def holds(self, e: tree.Expression, truth: bool, known: Known) -> Known | None:
        """`known` with the keys under which a condition is true, or false."""
        match e:
            case tree.Unary(op="not"):
                return self.holds(e.operand, not truth, known)
            case tree.Binary(op="and" | "or"):
                if truth == (e.op == "and"):
                    after = self.holds(e.left, truth, known)
                    return None if after is None else self.holds(e.right, truth, after)
                first = self.holds(e.left, truth, known)
                return first if first is not None else self.holds(e.right, truth, known)
            case tree.Binary(op="==" | "!="):
                return self.equal(e, truth == (e.op == "=="), known)
            case tree.Call() if self.called(e) == "given":
                path = self.path(e.arguments[0].value)
                if path is None:
                    return None
                if truth:
                    inside = any(k[: len(path)] == path and v is not None for k, v in known.items())
                    return known if inside else None
                return self.assign(path, None, known)
            case tree.Call() if self.called(e) == "contains":
                return self.contains(e, truth, known)
            case tree.Binary():
                return self.compared(e, truth, known)
        return self.solve(e, truth, known)

    def compared(self, e: tree.Binary, truth: bool, known: Known) -> Known | None:
        """`a < b`: a condition, not a value; what is not known is left to other lines and the reading at the end."""
        left, a = self.evaluate(e.left, known)
        right, b = self.evaluate(e.right, known)
        if not (left and right and is_number(a) and is_number(b)):
            return known
        return known if {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}.get(e.op) == truth else None

    def contains(self, e: tree.Call, truth: bool, known: Known) -> Known | None:
        """`contains(("a", "b"), key)`: the first entry with which the other lines go."""
        entries = e.arguments[0].value
        if not isinstance(entries, tree.Tuple):
            return None
        values = [value for ready, value in (self.evaluate(item, known) for item in entries.items) if ready]
        ready, value = self.evaluate(e.arguments[1].value, known)
        if ready:
            return known if (value in values) == truth else None
        if not truth:
            return known  # another line says what it is; the config is read again at the end
        found = (self.solve(e.arguments[1].value, value, known) for value in values)
        return next((f for f in found if f is not None), None)

    def equal(self, e: tree.Binary, truth: bool, known: Known) -> Known | None:
        left, a = self.evaluate(e.left, known)
        right, b = self.evaluate(e.right, known)
        if left and right:
            return known if same(a, b) == truth else None
        if not truth:
            return known  # another line says what it is; the config is read again at the end
        if right:
            return self.solve(e.left, b, known)
        return self.solve(e.right, a, known) if left else None


def _is_none(body: tree.Body) -> bool:
    return isinstance(body.result, tree.Name) and body.result.id == "none"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
