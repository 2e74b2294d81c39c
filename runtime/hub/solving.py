"""A config.json for a model that was made here: the config half of a map, turned around.

Each line of a map says what a value of the model is, given keys. Here the value is known and the keys are looked for,
line by line. What comes out is read again by the map, and only a config that gives the very same model is used: so a
wrong guess costs an export, never a wrong file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...compiler.lower import numbers
from ...compiler.lower.scope import Lazy
from ...compiler.lower.values import Component, FnValue, Placed, PlacedLayers
from ...lang import errors, tree
from ...lang.config_map import FUNCTIONS, ConfigPlan, is_static
from ...lang.diagnostics import WeftError
from ...lang.program import Unit

LEFT_OUT = object()
"""What `none` stands for: nothing is said, and the default counts."""

Known = Mapping[tuple[str, ...], Any]
"""Keys of config.json with their values; None for keys that must not be there."""


@dataclass(frozen=True)
class Solver:
    """`root` is the placed model, `stored` the names of the tensors that will be written."""

    plan: ConfigPlan
    root: Placed
    stored: Collection[str]

    def config(self) -> dict[str, Any]:
        """The keys that say what this model is. Raises WeftError at the first line that cannot be turned around."""
        known: Known = {}
        later = []  # conditions on keys that the other lines find
        for unit, line in self.plan.requirements():
            found = Place(self, unit, {}).holds(line.condition, True, known)
            if found is None:
                later.append((unit, line))
            else:
                known = found
        for unit, entry in self.plan.entries():
            there, value = self.value(entry.path)
            if not there:
                continue
            found = Place(self, unit, {}).solve(entry.value, value, known)
            if found is None:
                shown = ".".join(entry.path)
                reason = f"`{entry.value.span.text}` is not {_shown(value)} for any keys"
                raise WeftError(errors.unwritable_config(shown, reason, entry.span))
            known = found
        for unit, line in later:
            found = Place(self, unit, {}).holds(line.condition, True, known)
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


def plain(value: Any) -> Any:
    """Sizes and axes as numbers, lists as lists; everything else as it is."""
    number = numbers.number(value)
    if number is not None:
        return number
    if isinstance(value, Placed):
        return value.component
    return [plain(v) for v in value] if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, Component | FnValue):
        return f"`{value.declaration.name}(..)`"
    return f"`{value}`"


@dataclass(frozen=True)
class Place:
    """Where an expression stands: its file, and what the parameters of an inlined fn are (expressions elsewhere)."""

    solver: Solver
    unit: Unit
    names: Mapping[str, tuple[Place, tree.Expression]]

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
            case tree.Unary(op="-") if _is_number(want):
                return self.solve(e.operand, -want, known)
            case tree.Binary(op="+" | "-" | "*" | "/") if _is_number(want):
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

    # ------------------------------------------------------------ keys

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
            plan = self.solver.plan
            if e.id != "none" and e.id not in plan.parameters and self.unit.find(e.id) is None:
                return (e.id,)
        return None

    def meaning(self, e: tree.Name) -> tuple[Place, tree.Expression | None]:
        """What a parameter of an inlined fn, or a `let`, stands for, and where that is said."""
        if e.id in self.names:
            return self.names[e.id]
        lets = self.solver.plan.lets()
        if e.id in lets:
            unit, expression = lets[e.id]
            return Place(self.solver, unit, {}), expression
        return self, None

    def assign(self, path: tuple[str, ...], value: Any, known: Known) -> Known | None:
        if path in known:
            return known if same(known[path], value) else None
        if value is not None and not isinstance(value, bool | int | float | str | list):
            return None
        return {**known, path: value}

    # ------------------------------------------------------------ values

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
                if e.id in self.solver.plan.parameters:
                    return self.solver.value((e.id,))
            case tree.Unary(op="-"):
                ready, value = self.evaluate(e.operand, known)
                return ready and _is_number(value), -value if ready and _is_number(value) else None
            case tree.Call() if self.called(e) in FUNCTIONS:
                each = [self.evaluate(a.value, known) for a in e.arguments]
                of_lists = self.called(e) in ("text", "replaced", "place")
                if all(ready and (of_lists or _is_number(value)) for ready, value in each):
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
                return ready, name in self.solver.stored
            case tree.Binary(op="+" | "-" | "*" | "/" | "^"):
                left, a = self.evaluate(e.left, known)
                right, b = self.evaluate(e.right, known)
                if left and right and _is_number(a) and _is_number(b) and not (e.op == "/" and b == 0):
                    return True, {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0, "^": a**b}[e.op]
        return False, None

    def arithmetic(self, e: tree.Binary, want: Any, known: Known) -> Known | None:
        ready, a = self.evaluate(e.left, known)
        if ready and _is_number(a):
            rest = {"+": want - a, "-": a - want, "*": want / a if a else None, "/": a / want if want else None}[e.op]
            return None if rest is None else self.solve(e.right, _whole(rest), known)
        ready, b = self.evaluate(e.right, known)
        if ready and _is_number(b):
            rest = {"+": want - b, "-": want + b, "*": want / b if b else None, "/": want * b}[e.op]
            return None if rest is None else self.solve(e.left, _whole(rest), known)
        return None

    # ------------------------------------------------------------ calls and choices

    def called(self, e: tree.Call) -> str:
        return e.function.id if isinstance(e.function, tree.Name) else ""

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
        if name in ("int", "real") and _is_number(want):
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
            if path is not None and len(path) > 1 and path not in known and _is_number(want):
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
        names: dict[str, tuple[Place, tree.Expression]] = {}
        parameters = [p.name for p in fn.signature.parameters]
        for at, argument in enumerate(e.arguments):
            names[argument.name or parameters[at]] = (self, argument.value)
        inside = Place(self.solver, unit, names)
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

    def is_item(self, name: str, want: Any) -> bool:
        found = self.unit.find(name)
        return (
            found is not None and isinstance(want, Component | FnValue) and want.declaration is found[1]
            and not (want.bound if isinstance(want, FnValue) else want.arguments)
        )

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
        if not (left and right and _is_number(a) and _is_number(b)):
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


def same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


def _is_none(body: tree.Body) -> bool:
    return isinstance(body.result, tree.Name) and body.result.id == "none"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
