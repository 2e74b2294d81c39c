"""Instances: a component with arguments and overrides becomes a parameter set at a path, with children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.axes import Axis
from ...lang.diagnostics import Diagnostic, WeftError
from ...lang.program import name_span
from ...lang.sizes import Size
from ...lang.source import Span
from ...lang.walk import mentions, walk
from ..ir.module import Path
from . import limits, lists, numbers
from .expressions import Evaluator, Weight
from .parameters import positive, typed
from .scope import Lazy, Scope, declared_once
from .values import (
    LAYER,
    Component,
    Deferred,
    MethodValue,
    Overrides,
    Pack,
    Placed,
    PlacedLayers,
    canonical,
    describe,
)

if TYPE_CHECKING:
    from .elaborate import Elaborator


Declared = Callable[[], tuple[Any, Span]]
"""What a block says itself of a name: its value and where it is written."""


def instantiate(
    elaborator: Elaborator, component: Component, path: Path, label: str = "", index: tuple[str, int] | None = None,
    around: Scope | None = None,
) -> Placed:
    """Place a component at a path: every parameter, dim and child is evaluated, every `require` is checked.

    `around` holds the names of the instances around it, which values set by a `with` may use.
    """
    elaborator.burn(component.spans.get("", name_span(component.declaration)), limits.INSTANCE)
    placing = _Placing(elaborator, component, path, label, index, around)
    elaborator.placing.append(component)
    try:
        placed = placing.run()
    except WeftError as error:
        if "" not in component.spans:
            raise
        raise error.seen_from(component.spans[""], f"`{component.declaration.name}` is used here") from error
    elaborator.placing.pop()
    return placed


class _Placing:
    def __init__(
        self, elaborator: Elaborator, component: Component, path: Path, label: str, index: tuple[str, int] | None,
        around: Scope | None,
    ) -> None:
        self.elaborator, self.component, self.path, self.index = elaborator, component, path, index
        self.declaration = component.declaration
        self.scope = Scope(component.unit, component.enclosing)
        self.seen = self.scope.within(around)
        self.placed = Placed(component, path, self.scope, component.stack, label or self.declaration.name)
        self.static = Evaluator(elaborator, self.scope)

    def run(self) -> Placed:
        if len(self.path) > limits.NESTING:
            raise WeftError(self._endless())
        declared_once((n, m.span) for m in (*self.declaration.parameters, *self.declaration.members) for n in _names(m))
        if self.index is not None:
            name, place = self.index
            self.scope.entries[name] = Lazy(name, lambda: place)
        for parameter in self.declaration.parameters:
            self._declare(parameter.name, self._later(self._parameter, parameter))
        requirements = []
        for member in self.declaration.members:
            if isinstance(member, tree.DimDecl):
                self._declare(member.name, self._later(self._dim, member))
            elif isinstance(member, tree.Bind):
                self._declare(member.name, self._later(self._bind, member))
            elif isinstance(member, tree.WeightDecl):
                for name in member.names:
                    self.placed.weights[name] = member
                    self.scope.entries[name] = Weight(self.placed, member, name)
            elif isinstance(member, tree.Method):
                self.placed.methods[member.name] = member
                self.scope.entries[member.name] = MethodValue(self.placed, member.name)
            elif isinstance(member, tree.Require):
                requirements.append(member)
        self._check_overrides()
        for requirement in requirements:
            self._require(requirement)
        for name, entry in list(self.scope.entries.items()):
            if isinstance(entry, Lazy) and not self._is_index(name):
                entry.force(self.declaration.span)
        order = [n for n in self.scope.entries if n in self.placed.children]
        self.placed.children = {n: self.placed.children[n] for n in order}
        self.placed.key = self._key()
        self.placed.numbered = self._asks_for_its_number()
        return self.placed

    def _is_index(self, name: str) -> bool:
        return self.index is not None and name == self.index[0]

    def _asks_for_its_number(self) -> bool:
        """Whether anything of this layer was made with its number. If not, all layers are like it."""
        if self.index is None:
            return False
        methods = [m for m in self.declaration.members if isinstance(m, tree.Method)]
        return self.scope.entries[self.index[0]].state == "done" or lists.only_indexed(self.index[0], methods) != ()

    def _later(self, compute: Callable[[Any], Any], member: Any) -> Callable[[], Any]:
        return lambda: compute(member)

    def _declare(self, name: str, compute: Callable[[], Any]) -> None:
        self.scope.entries[name] = Lazy(name, compute)

    # ------------------------------------------------------------ values

    def _override(self, name: str) -> Overrides | None:
        return self.component.overrides.parts.get(name)

    def _overridden(self, name: str, declared: Declared) -> tuple[Any, Span]:
        """What is set for a name, or else what is declared there; and where that is written."""
        override = self._override(name)
        value, span = declared() if override is None else self._changed(name, override, declared)
        made_here = isinstance(value, PlacedLayers) and value.path == (*self.path, name)  # its parts were set then
        return (value if made_here else self._with_parts(name, override, value, span)), span

    def _changed(self, name: str, override: Overrides, declared: Declared) -> tuple[Any, Span]:
        """The value that an override gives a name, before parts of it are set."""
        leaf = override.leaf
        if leaf is None:
            return declared()
        if leaf.layers:
            at = override.span or leaf.expression.span
            raise WeftError(errors.no_layers_there(f"{{{leaf.layers[0][1]}}}", f"the path to `{name}`", at))
        scope = Scope(leaf.unit, self.seen, dict(leaf.bound))
        standing = override.before or Overrides()
        if mentions("original", leaf.expression):
            scope.entries["original"] = Lazy("original", lambda: self._original(name, standing, declared, leaf))
        if isinstance(leaf.expression, tree.Repeat):
            return self._layers(leaf.expression, name, scope), leaf.expression.span
        return Evaluator(self.elaborator, scope).evaluate(leaf.expression), leaf.expression.span

    def _original(self, name: str, standing: Overrides, declared: Declared, leaf: Deferred) -> Any:
        """What stands at a name before `leaf` changes it."""
        value, span = self._changed(name, standing, declared)
        if isinstance(value, PlacedLayers):
            asked = next(n for n in walk(leaf.expression) if isinstance(n, tree.Name) and n.id == "original")
            raise WeftError(errors.no_original(name, asked.span))
        return self._with_parts(name, standing, value, span)

    def _parameter(self, parameter: tree.Parameter) -> Any:
        name = parameter.name
        value, span = self._overridden(name, lambda: self._argument(parameter))
        kind = parameter.type.name if isinstance(parameter.type, tree.NamedType) else None
        value = typed(self.elaborator, self.component.unit, parameter, kind, value, span)
        if isinstance(value, Axis):
            self.placed.actual[name] = value.name
            return Axis(name, value.size)
        if isinstance(value, Pack):
            many = len(value.axes) > 1
            local = tuple(Axis(f"{name}{i + 1}" if many else name, a.size) for i, a in enumerate(value.axes))
            self.placed.actual.update({inner.name: a.name for inner, a in zip(local, value.axes, strict=True)})
            return Pack(local)
        return self._place(value, name)

    def _argument(self, parameter: tree.Parameter) -> tuple[Any, Span]:
        """The argument given for a parameter, or its default."""
        name = parameter.name
        if name in self.component.arguments:
            return self.component.arguments[name], self.component.spans[name]
        if parameter.default is None:
            raise WeftError(errors.missing_parameter(name, self.declaration.name, self.use_span()))
        return self.static.evaluate(parameter.default), parameter.default.span

    def use_span(self) -> Span:
        """Where the component was called with arguments; its name in the declaration when nothing calls it."""
        return self.component.spans.get("", name_span(self.declaration))

    def _endless(self) -> Diagnostic:
        """Instances inside instances without end: points at the second use of what is used again and again."""
        chain = [c for c in self.elaborator.placing if c.declaration.name]
        counts = {id(c.declaration): sum(c.declaration is d.declaration for d in chain) for c in chain}
        again = max(chain, key=lambda c: counts[id(c.declaration)])
        second = [c for c in chain if c.declaration is again.declaration][1:2]
        return errors.recursion(
            again.declaration.name, (second or [again])[0].spans.get("", name_span(again.declaration))
        )

    def _with_parts(self, name: str, override: Overrides | None, value: Any, span: Span) -> Any:
        if override is None or not override.parts:
            return value
        if not isinstance(value, Component):
            part, inner = next(iter(override.parts.items()))
            raise WeftError(errors.unknown_override(f"{name}.{part}", part, f"`{name}`", (), inner.span or span))
        merged = Overrides(None, override.span, override.parts)
        return Component(
            value.unit,
            value.declaration,
            value.arguments,
            value.spans,
            value.overrides.merged(merged),
            value.stack,
            value.enclosing,
        )

    def _dim(self, member: tree.DimDecl) -> Axis:
        value, span = self._overridden(member.name, lambda: (self.static.evaluate(member.value), member.value.span))
        size = numbers.size(value)
        if size is None:
            raise WeftError(errors.parameter_mismatch(member.name, "a size", describe(value), span))
        return Axis(member.name, positive(self.elaborator, f"`{member.name}`", size, span))

    def _bind(self, member: tree.Bind) -> Any:
        def declared() -> tuple[Any, Span]:
            return self._bound(member.value, member.name, self.static), member.value.span

        return self._place(self._overridden(member.name, declared)[0], member.name)

    def _bound(self, expression: tree.Expression, name: str, evaluator: Evaluator) -> Any:
        if isinstance(expression, tree.If):
            body = evaluator.choose(expression)
            inner = evaluator.inside(Scope(evaluator.scope.unit, evaluator.scope))
            for statement in body.statements:
                inner.run(statement)
            assert body.result is not None
            return self._bound(body.result, name, inner)
        if isinstance(expression, tree.Repeat):
            return self._layers(expression, name, evaluator.scope)
        return evaluator.evaluate(expression)

    def _place(self, value: Any, name: str) -> Any:
        """A component becomes a child at `name`; anything else (an instance elsewhere, a number) stays what it is."""
        if isinstance(value, Component):
            stacked = Component(
                value.unit, value.declaration, value.arguments, value.spans, value.overrides,
                (*self.component.stack, *value.stack), value.enclosing,
            )
            self.placed.children[name] = instantiate(self.elaborator, stacked, (*self.path, name), around=self.seen)
            return self.placed.children[name]
        return value

    # ------------------------------------------------------------ repeat

    def _layers(self, e: tree.Repeat, name: str, scope: Scope) -> PlacedLayers:
        evaluator = Evaluator(self.elaborator, scope)
        count = numbers.number(evaluator.evaluate(e.count))
        if isinstance(count, Size) and self.elaborator.symbolic:
            count = 1
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            shown = describe(count) if numbers.number(count) is None else f"{count}"
            raise WeftError(errors.not_positive("the number of layers", shown, e.count.span))
        if count > limits.LAYERS:
            raise WeftError(errors.too_large(f"a `repeat` of {count:_} layers", f"{limits.LAYERS:_}", e.count.span))
        if self.component.stack:
            raise WeftError(errors.wrong_kind("`repeat` inside a `stack`", "a single layer", e.span))
        override = self._override(name)
        parts = Overrides(None, None, override.parts if override else {})
        if e.members is not None:
            label = name[:-1].capitalize() if name.endswith("s") and len(name) > 1 else f"{name.capitalize()}Layer"
            block = tree.Block(label, (), None, e.members, span=e.span)
            body = Component(scope.unit, block, overrides=parts, enclosing=scope)
        else:
            assert e.of is not None
            value = evaluator.evaluate(e.of)
            if not isinstance(value, Component):
                raise WeftError(errors.wrong_kind(describe(value), "a component", e.of.span))
            body = Component(
                value.unit,
                value.declaration,
                value.arguments,
                value.spans,
                value.overrides.merged(parts),
                value.stack,
                value.enclosing,
            )
            label = body.declaration.name
        path: Path = (*self.path, name, LAYER)
        leaves = [leaf.expression for leaf in parts.leaves()]
        counted = any(mentions(n, leaf.expression) for leaf in parts.leaves() for _, n in leaf.layers)
        named = e.index is not None and (mentions(e.index, *(e.members or ())) or mentions(e.index, *leaves))
        used = named or counted
        bodies: dict[Any, int] = {}
        kept: list[Placed] = []
        schedule = []
        for i in range(count if used else 1):
            overrides = body.overrides.at_layer(i)
            layer = instantiate(
                self.elaborator, replace(body, overrides=overrides), path, label,
                (e.index, i) if named and e.index else None, self.seen,
            )
            if layer.key not in bodies:
                bodies[layer.key] = len(kept)
                kept.append(layer)
            schedule.append(bodies[layer.key])
            if not layer.numbered and not counted:
                schedule = [0] * count
                break
        layers = PlacedLayers((*self.path, name), tuple(kept), tuple(schedule))
        self.placed.children[name] = layers
        return layers

    # ------------------------------------------------------------ checks

    def _require(self, member: tree.Require) -> None:
        value = self.static.evaluate(member.condition)
        if value is True or (self.elaborator.symbolic and not isinstance(value, bool)):
            return
        if self.elaborator.symbolic:
            return
        shown = []
        for node in walk(member.condition):
            if isinstance(node, tree.Name):
                shown.append(f"{node.id} = {numbers.number(self.static.evaluate(node))}")
        raise WeftError(
            errors.requirement_failed(member.condition.span.text, ", ".join(dict.fromkeys(shown)), member.span)
        )

    def _check_overrides(self) -> None:
        settable = [n for n, v in self.scope.entries.items() if isinstance(v, Lazy) and not self._is_index(n)]
        for name, override in self.component.overrides.parts.items():
            if name not in settable:
                span = override.span or self.declaration.span
                owner = f"`{self.placed.label}`"
                raise WeftError(errors.unknown_override(_path(name, override), name, owner, settable, span))

    def _key(self) -> Any:
        """What decides the code of this instance's methods: the block, its static values, its stack."""
        entries: list[Any] = []
        for name, entry in self.scope.entries.items():
            value = entry.value if isinstance(entry, Lazy) else entry
            if isinstance(value, Weight) or (isinstance(value, MethodValue) and value.owner is self.placed):
                continue
            if self.index is not None and self._is_index(name):
                entries.append(self._index_in_methods(*self.index))
                continue
            self._weigh(value)
            entries.append((name, canonical(value, self.placed)))
        around = ()
        if self.component.enclosing is not None:
            names = {n.id for n in walk(*self.declaration.members) if isinstance(n, tree.Name)}
            around = tuple(self._around(n) for n in sorted(names))
        stack = tuple((a.name, a.size) for a in self.component.stack)
        place = self.declaration.span.start if self.component.enclosing is not None else 0
        return self.component.unit.prefix, self.declaration.name, place, tuple(entries), around, stack

    def _index_in_methods(self, name: str, place: int) -> Any:
        """What of the number of a layer decides its code: nothing, entries of lists, or the number itself."""
        methods = [m for m in self.declaration.members if isinstance(m, tree.Method)]
        used = lists.only_indexed(name, methods)
        if used is None:
            return name, place
        found = [lists.entries(self.scope.find(n, self.declaration.span)[1]) for n in used]
        return tuple(canonical(e[place], self.placed) if e is not None and place < len(e) else None for e in found)

    def _weigh(self, value: Any) -> None:
        """Long lists are work: they are compared for each layer."""
        if isinstance(value, tuple):
            self.elaborator.burn(self.declaration.span, len(value))

    def _around(self, name: str) -> Any:
        here = self.component.enclosing
        while here is not None:
            entry = here.entries.get(name)
            if entry is not None:
                if isinstance(entry, Weight) or (isinstance(entry, Lazy) and entry.state == "running"):
                    return None
                value = entry.force(self.declaration.span) if isinstance(entry, Lazy) else entry
                self._weigh(value)
                return name, canonical(value, self.placed)
            here = here.parent
        return None


def _names(member: tree.Parameter | tree.Member) -> tuple[str, ...]:
    """The names a parameter or member declares."""
    if isinstance(member, tree.WeightDecl):
        return member.names
    return () if isinstance(member, tree.Require | tree.StreamDecl) else (member.name,)


def _path(name: str, override: Overrides) -> str:
    while override.leaf is None and override.parts:
        part, override = next(iter(override.parts.items()))
        name = f"{name}.{part}"
    return name
