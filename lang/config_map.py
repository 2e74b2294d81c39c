"""The config half of a checkpoint map: the keys of config.json, and what they set in a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import errors, tree
from .config_plan import ConfigPlan, top_keys
from .config_values import ARITHMETIC, FUNCTIONS, LEFT_OUT, Missing, as_tree, is_static, json_number
from .diagnostics import WeftError
from .program import Unit
from .walk import walk


@dataclass
class Reading:
    """One config.json as a map reads it.

    `read` gathers the keys that were asked for, as paths; `homes` the items that the values name, with the files that
    see them under these names.
    """

    plan: ConfigPlan
    config: Mapping[str, Any]
    stored: Callable[[str], bool]
    read: set[tuple[str, ...]] = field(default_factory=set)
    homes: dict[str, Unit] = field(default_factory=dict)
    _lets: dict[str, Any] = field(default_factory=dict)

    def overrides(
        self, own: Callable[[tuple[str, ...]], bool]
    ) -> list[tuple[tuple[str, ...], tree.Expression]]:
        """What the config sets in the model: paths and expressions.

        `own` says whether the model has a path.

        Raises WeftError when a key is missing, when a requirement does not hold, and when the config has keys that
        the map does not know.
        """
        found = []
        for unit, entry in self.plan.entries():
            if not own(entry.path):
                continue
            value = Evaluation(self, unit, {}).value(entry.value)
            if value is LEFT_OUT:
                continue
            found.append((entry.path, as_tree(value, entry.value)))
        for unit, line in self.plan.requirements():
            held = Evaluation(self, unit, {}).value(line.condition)
            if held is not True:
                shown = {n.id: self.config.get(n.id) for n in walk(line.condition)
                         if isinstance(n, tree.Name) and n.id in self.config}
                raise WeftError(errors.config_refused(line.condition.span.text, shown, line.condition.span))
        unknown = self.unknown()
        if unknown:
            raise WeftError(errors.unknown_config_keys(unknown))
        return found

    def key(self, path: tuple[str, ...], value: Any) -> Any:
        """The value of a key, marked as read."""
        self.read.add(path)
        if value is None:
            return Missing(".".join(path))
        value = json_number(value)
        return Keys(self, path, value) if isinstance(value, dict) else value

    def let(self, name: str) -> Any:
        unit, expression = self.plan.lets()[name]
        if name not in self._lets:
            self._lets[name] = Evaluation(self, unit, {}).value(expression)
        return self._lets[name]

    def word(self, name: str, layers: Mapping[str, int]) -> str:
        """The text or whole number that a `let` of the map gives, for the layers that a path goes through."""
        unit, expression = self.plan.lets()[name]
        value = Evaluation(self, unit, layers).value(expression)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise WeftError(errors.wrong_config_value(f"a part of a name: `{name}`", expression.span))
        return str(value)

    def unknown(self) -> list[str]:
        """Keys with a value that nothing reads and nothing ignores."""
        mentioned = {name for _, line in self.plan.lines for name in top_keys(line)}
        ignored = self.plan.ignored()
        found = []
        for key, value in self.config.items():
            if value is None or (key,) in ignored:
                continue
            if key not in mentioned and (key,) not in self.read:
                found.append(key)
            elif isinstance(value, dict) and (key,) in self.read:
                found += self._unknown_inside((key,), value, ignored)
        return found

    def _unknown_inside(
        self, path: tuple[str, ...], value: Mapping[str, Any], ignored: set[tuple[str, ...]]
    ) -> list[str]:
        found = []
        for name, part in value.items():
            here = (*path, name)
            if part is None or here in ignored or (name,) in ignored:
                continue
            if here not in self.read:
                found.append(".".join(here))
            elif isinstance(part, dict):
                found += self._unknown_inside(here, part, ignored)
        return found


@dataclass(frozen=True)
class Keys:
    """An object inside of config.json; its keys are asked for with a point."""

    reading: Reading
    path: tuple[str, ...]
    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        return self.reading.key((*self.path, name), self.values.get(name))


@dataclass(frozen=True)
class Delayed:
    """A name of a fn's body: what it stands for is looked up where it is used, so a branch may name missing keys."""

    evaluation: Evaluation
    expression: tree.Expression


@dataclass(frozen=True)
class Evaluation:
    """Values of expressions over a config: Python values, Missing, Keys, or trees of what is left to say in a spec.

    Words that only a config knows: `default(a, b)` is the first that is there, `given(a)` whether it is, `stored(a)`
    whether the checkpoint has a tensor of that name, `text(a)` a list of texts as one, `replaced(a, old, new)` a list
    with other entries for equal ones, `refuse(a)` says that the checkpoint is not covered, `none` says nothing.
    """

    reading: Reading
    unit: Unit
    names: Mapping[str, Any]

    def value(self, e: tree.Expression) -> Any:
        match e:
            case tree.Number() | tree.String() | tree.Boolean():
                return e.value
            case tree.Name():
                return self._name(e)
            case tree.Tuple():
                return [self.value(item) for item in e.items]
            case tree.Attribute():
                return self._attribute(e)
            case tree.Index():
                return self._index(e)
            case tree.Call():
                return self._call(e)
            case tree.Unary():
                value = self._plain(e.operand)
                if isinstance(value, tree.Expression):
                    return tree.Unary(e.op, value, span=e.span)
                return (not value) if e.op == "not" else -value
            case tree.Binary():
                return self._binary(e)
            case tree.If():
                return self._choice(e)
            case tree.Stack():  # the name of its axis is of the place that it is put into
                return tree.Stack(e.axis, as_tree(self.value(e.of), e.of), span=e.span)
            case tree.With():
                overrides = tuple(
                    tree.Override(o.path, as_tree(self.value(o.value), o.value), span=o.span) for o in e.overrides
                )
                return tree.With(as_tree(self.value(e.base), e.base), overrides, span=e.span)
        raise WeftError(errors.wrong_config_value(f"`{e.span.text}`", e.span))

    def _name(self, e: tree.Name) -> Any:
        if e.id in self.names:
            known = self.names[e.id]
            return known.evaluation.value(known.expression) if isinstance(known, Delayed) else known
        if e.id == "none":
            return LEFT_OUT
        if e.id in self.reading.plan.lets():
            return self.reading.let(e.id)
        if e.id in self.reading.plan.parameters:
            return e
        if self.unit.find(e.id) is not None:
            self.reading.homes[e.id] = self.unit
            return e
        return self.reading.key((e.id,), self.reading.config.get(e.id))

    def _attribute(self, e: tree.Attribute) -> Any:
        if isinstance(e.value, tree.Name) and e.value.id == "config":
            return self.reading.key((e.name,), self.reading.config.get(e.name))
        value = self.value(e.value)
        if isinstance(value, Missing):
            return Missing(f"{value.key}.{e.name}")
        if isinstance(value, Keys):
            return value.get(e.name)
        if isinstance(value, tree.Expression):
            return tree.Attribute(value, e.name, span=e.span)
        raise WeftError(errors.wrong_config_value(f"a part of {value!r}", e.span))

    def _index(self, e: tree.Index) -> Any:
        value, at = self._plain(e.value), self._plain(e.position)
        if isinstance(value, Keys) and isinstance(at, str | int):
            return value.get(str(at))
        if isinstance(value, list) and isinstance(at, tree.Expression):
            return tree.Index(as_tree(value, e.value), at, span=e.span)
        if isinstance(value, list) and isinstance(at, int) and -len(value) <= at < len(value):
            return json_number(value[at])
        raise WeftError(errors.wrong_config_value(f"entry {at} of `{e.value.span.text}`", e.span))

    def _plain(self, e: tree.Expression) -> Any:
        """A value that is there."""
        value = self.value(e)
        if isinstance(value, Missing):
            raise WeftError(errors.missing_config_key(value.key or e.span.text, e.span))
        return value

    def _call(self, e: tree.Call) -> Any:
        name = e.function.id if isinstance(e.function, tree.Name) else ""
        arguments = e.arguments
        if name == "default":
            for argument in arguments:
                value = self.value(argument.value)
                if not isinstance(value, Missing):
                    return value
                if value is LEFT_OUT and argument is arguments[-1]:
                    return LEFT_OUT
            return Missing(" or ".join(a.value.span.text for a in arguments))
        if name == "refuse":
            shown = " ".join(str(self._plain(a.value)) for a in arguments)
            raise WeftError(errors.config_refused(shown, {}, e.span))
        if name == "given":
            return not isinstance(self.value(arguments[0].value), Missing)
        if name == "stored":
            return self.reading.stored(self._plain(arguments[0].value))
        if name in ("contains", "length") or name in FUNCTIONS:
            values = [self._plain(a.value) for a in arguments]
            if not any(isinstance(v, tree.Expression) for v in values):
                if name == "contains":
                    return values[1] in (values[0].values if isinstance(values[0], Keys) else values[0])
                return len(values[0]) if name == "length" else FUNCTIONS[name](*values)
        found = self.unit.find(name)
        if found is not None and isinstance(found[1], tree.Fn) and is_static(found[1]):
            return self._inlined(found[0], found[1], e)
        if found is not None:
            self.reading.homes[name] = self.unit
        given = tuple(
            tree.Argument(a.name, as_tree(self._plain(a.value), a.value), span=a.span) for a in arguments
            if self.value(a.value) is not LEFT_OUT
        )
        return tree.Call(e.function, given, span=e.span)

    def _inlined(self, unit: Unit, fn: tree.Fn, e: tree.Call) -> Any:
        """The value of a fn that chooses among static values, for these arguments."""
        names: dict[str, Any] = {}
        parameters = [p.name for p in fn.signature.parameters]
        for place, argument in enumerate(e.arguments):
            name = argument.name if argument.name is not None else (parameters + ["?"] * 9)[place]
            if name not in parameters:
                raise WeftError(errors.unknown_argument(name, fn.name, parameters, argument.span))
            passed = self.names.get(argument.value.id) if isinstance(argument.value, tree.Name) else None
            names[name] = passed if isinstance(passed, Delayed) else self.value(argument.value)
        inside = Evaluation(self.reading, unit, names)
        for parameter in fn.signature.parameters:
            if parameter.name not in names or names[parameter.name] is LEFT_OUT:
                if parameter.default is None:
                    raise WeftError(errors.missing_parameter(parameter.name, fn.name, e.span))
                names[parameter.name] = inside.value(parameter.default)
        return inside._body(fn.body)

    def _body(self, body: tree.Body) -> Any:
        names = dict(self.names)
        inside = Evaluation(self.reading, self.unit, names)
        for statement in body.statements:
            if not isinstance(statement, tree.Let) or len(statement.names) != 1:
                raise WeftError(errors.wrong_config_value(f"`{statement.span.text}`", statement.span))
            names[statement.names[0]] = Delayed(inside, statement.value)
        assert body.result is not None
        return inside.value(body.result)

    def _choice(self, e: tree.If) -> Any:
        condition = self._plain(e.condition)
        if isinstance(condition, tree.Expression):  # it turns on the number of a layer: the spec decides
            sides = (tree.Body((), as_tree(self._body(b), e), span=e.span) for b in (e.then, e.otherwise))
            return tree.If(condition, *sides, span=e.span)
        if not isinstance(condition, bool):
            raise WeftError(errors.wrong_config_value(f"a choice by `{e.condition.span.text}`", e.condition.span))
        return self._body(e.then if condition else e.otherwise)

    def _binary(self, e: tree.Binary) -> Any:
        if e.op in ("and", "or"):
            left = self._plain(e.left)
            if left is (e.op == "or"):
                return left
            right = self._plain(e.right)
            if isinstance(left, tree.Expression) and right is (e.op == "or"):
                return right
            if isinstance(left, tree.Expression) and not isinstance(right, bool):
                return tree.Binary(e.op, left, as_tree(right, e.right), span=e.span)
            return left if isinstance(left, tree.Expression) else right
        left, right = self.value(e.left), self.value(e.right)
        if e.op in ("==", "!=") and not isinstance(left, tree.Expression) and not isinstance(right, tree.Expression):
            same = (isinstance(left, Missing) and isinstance(right, Missing)) or left == right
            return same if e.op == "==" else not same
        left, right = self._plain(e.left), self._plain(e.right)
        if isinstance(left, tree.Expression) or isinstance(right, tree.Expression):
            return tree.Binary(e.op, as_tree(left, e.left), as_tree(right, e.right), span=e.span)
        try:
            if e.op == "/" and isinstance(left, int) and isinstance(right, int) and left % right == 0:
                return left // right
            return ARITHMETIC[e.op](left, right)
        except (TypeError, ArithmeticError, KeyError) as error:
            shown = f"`{e.span.text}` of {left!r} and {right!r}"
            raise WeftError(errors.wrong_config_value(shown, e.span)) from error
