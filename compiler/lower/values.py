"""What a name can mean while a program is elaborated: static values, components, placed instances, tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...lang import tree
from ...lang.axes import Axis, TensorType
from ...lang.program import Unit
from ...lang.sizes import Size
from ...lang.source import Span
from ..ir.graph import Value
from ..ir.module import Init, Path, Reference

LAYER = "*"  # stands for the number of a layer in the path of an instance inside a repeat


@dataclass(frozen=True)
class Pack:
    """The value of a `dims` parameter: axes under the names they have inside the block."""

    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class Deferred:
    """An expression to be evaluated where it takes effect (`with`: late binding), with the names of its own file.

    `layers` are the names that its path gives to numbers of layers, each after the count of names that follow it:
    `blocks.{i}.attn.q` has `(2, "i")`. When a layer is made they go to `bound`, with the layer's number.
    """

    expression: tree.Expression
    unit: Unit
    layers: tuple[tuple[int, str], ...] = ()
    bound: tuple[tuple[str, int], ...] = ()

    def at_layer(self, number: int, depth: int) -> Deferred:
        """The same inside of layer `number` of the repeat that stands `depth` names before the end of the path."""
        here = tuple((name, number) for after, name in self.layers if after == depth)
        left = tuple(layer for layer in self.layers if layer[0] != depth)
        return replace(self, layers=left, bound=(*self.bound, *here)) if here else self


@dataclass
class Overrides:
    """What a `with` sets below one place: a value for the place itself, and values for its parts.

    `before` is what was set there earlier: the value may ask for it as `original`.
    """

    leaf: Deferred | None = None
    span: Span | None = None
    parts: dict[str, Overrides] = field(default_factory=dict)
    before: Overrides | None = None

    def merged(self, other: Overrides) -> Overrides:
        """These overrides with `other` on top."""
        replaced = other.leaf is not None
        parts = {} if replaced else {n: p.merged(Overrides()) for n, p in self.parts.items()}
        for name, part in other.parts.items():
            parts[name] = parts[name].merged(part) if name in parts else part.merged(Overrides())
        before = self.before
        if replaced:
            before = self if other.before is None else self.merged(other.before)
        return Overrides(other.leaf or self.leaf, other.span or self.span, parts, before)

    def at_layer(self, number: int, depth: int = 0) -> Overrides:
        """The same inside of layer `number`; `depth` names lead here from the repeat."""
        leaf = self.leaf.at_layer(number, depth) if self.leaf else None
        parts = {n: p.at_layer(number, depth + 1) for n, p in self.parts.items()}
        return Overrides(leaf, self.span, parts, self.before.at_layer(number, depth) if self.before else None)

    def leaves(self) -> Iterator[Deferred]:
        """All values that are set here and below, those that were replaced too (they may be asked for)."""
        if self.leaf is not None:
            yield self.leaf
        for part in (*self.parts.values(), *((self.before,) if self.before else ())):
            yield from part.leaves()

    def key(self) -> Any:
        leaf = (self.leaf.expression, self.leaf.unit.prefix, self.leaf.bound) if self.leaf else None
        before = self.before.key() if self.before else None
        return leaf, tuple((n, p.key()) for n, p in self.parts.items()), before


@dataclass(frozen=True)
class FnValue:
    """A `fn`, with some of its static parameters bound: `window(width = 4096)`."""

    unit: Unit
    declaration: tree.Fn
    bound: tuple[tuple[str, Any], ...] = ()

    @property
    def definition(self) -> str:
        return f"{self.unit.prefix}.{self.declaration.name}"

    @property
    def key(self) -> Any:
        return "fn", self.definition, tuple((n, canonical(v)) for n, v in self.bound)


@dataclass(frozen=True, eq=False)
class Component:
    """A block or model with arguments, not placed anywhere yet. It becomes an instance where it is bound."""

    unit: Unit
    declaration: tree.Block | tree.Model
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)
    stack: tuple[Axis, ...] = ()
    enclosing: Any = None  # the Scope around the body of a repeat; None for blocks


@dataclass(eq=False)
class Placed:
    """An instance at a path. `key` is equal for instances whose methods compile to the same functions."""

    component: Component
    path: Path
    scope: Any
    stack: tuple[Axis, ...]
    label: str
    actual: dict[str, str] = field(default_factory=dict)
    children: dict[str, Placed | PlacedLayers] = field(default_factory=dict)
    weights: dict[str, tree.WeightDecl] = field(default_factory=dict)
    methods: dict[str, tree.Method] = field(default_factory=dict)
    key: Any = None
    numbered: bool = False  # whether it is a layer that was made with its number

    def reference_to(self, other: Path) -> Reference:
        """Where an instance at path `other` is, seen from this one."""
        common = 0
        while common < min(len(self.path), len(other)) and self.path[common] == other[common]:
            common += 1
        return Reference(len(self.path) - common, tuple(str(p) for p in other[common:]))


@dataclass(eq=False)
class PlacedLayers:
    """The layers of a repeat: layer i is `bodies[schedule[i]]`."""

    path: Path
    bodies: tuple[Placed, ...]
    schedule: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MethodValue:
    """A method of a placed instance, as a value: `embed.logits`."""

    owner: Placed
    name: str


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the function that is being built."""

    value: Value
    type: TensorType
    span: Span
    body: Any = None


@dataclass(frozen=True)
class Builtin:
    """A function of the kernel: it sees its arguments unevaluated, because some of them are names of axes."""

    name: str
    run: Callable[..., Any] = field(compare=False)


def canonical(value: Any, owner: Placed | None = None) -> Any:
    """A hashable form of a static value: equal for values that lead to the same code inside `owner`."""
    if isinstance(value, Axis):
        return "axis", value.size
    if isinstance(value, Pack):
        return "pack", tuple(a.size for a in value.axes)
    if isinstance(value, Placed | PlacedLayers):
        where = owner.reference_to(value.path) if owner else value.path
        inner = value.key if isinstance(value, Placed) else (tuple(b.key for b in value.bodies), value.schedule)
        return "instance", where, inner
    if isinstance(value, MethodValue):
        return "method", canonical(value.owner, owner), value.name
    if isinstance(value, FnValue):
        return value.key
    if isinstance(value, Component):
        arguments = tuple((n, canonical(v, owner)) for n, v in sorted(value.arguments.items()))
        return "component", value.unit.prefix, value.declaration.name, arguments, value.overrides.key()
    if isinstance(value, tuple):
        return tuple(canonical(v, owner) for v in value)
    if isinstance(value, Size | Init | Builtin):
        return value
    return type(value).__name__, value


def describe(value: Any) -> str:
    """A value in words, for messages."""
    if isinstance(value, Axis):
        return f"the axis `{value.name}` of size {value.size}"
    if isinstance(value, Pack):
        return f"the axes ({', '.join(map(str, value.axes))})"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, Size):
        return f"the size {value}"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, FnValue):
        return f"the function `{value.declaration.name}`"
    if isinstance(value, Component):
        return f"the component `{value.declaration.name}`"
    if isinstance(value, Placed):
        return f"an instance of `{value.label}`"
    if isinstance(value, PlacedLayers):
        return "repeated layers"
    if isinstance(value, MethodValue):
        return f"the method `{value.name}`"
    if isinstance(value, Tensor):
        return f"a tensor {value.type}"
    if isinstance(value, Init):
        return "an initialiser"
    if isinstance(value, Builtin):
        return f"the function `{value.name}`"
    if isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value):
        return f"{len(value)} values"
    if isinstance(value, tuple):
        return "a list of 1 entry" if len(value) == 1 else f"a list of {len(value)} entries"
    return f"a {type(value).__name__}"
