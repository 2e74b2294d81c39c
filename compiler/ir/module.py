"""A module: functions, the tree of instances that own the parameters, and the streams.

Functions keep the hierarchy: `call` names a callee and the instance it runs on, `repeat` runs layers one after
another. An instance is a parameter set; its path from the root names its parameters (`blocks.3.attn.q.weight`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from ...lang.axes import Axis, TensorType
from .graph import NOWHERE, Graph, Origin, Value

if TYPE_CHECKING:
    from .source import Source


@dataclass(frozen=True)
class Init:
    """How a parameter starts: `kind` is normal, uniform, constant, ...; `arguments` are its numbers by name."""

    kind: str
    arguments: tuple[tuple[str, float], ...] = ()

    def get(self, name: str, default: float) -> float:
        return next((v for k, v in self.arguments if k == name), default)


@dataclass(frozen=True)
class Parameter:
    """A learned tensor of an instance: its axes (all sizes are numbers) and its initial values.

    `source` is None for what a checkpoint holds; else it says from which of those the values are made (`source.py`).
    """

    name: str
    type: TensorType
    init: Init
    origin: Origin = field(default=NOWHERE, compare=False)
    source: Source | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(a.size.value for a in self.type.axes)


@dataclass(frozen=True)
class Instance:
    """A parameter set made from a block: its own parameters and its children, in the order of the spec.

    `stack` are the axes of a `stack` that this is copied along, for people to see; parameters have these axes already.
    `axes` are the names that its `dim` and `dims` parameters have here and in the instance around it (`Out1`, `G`).
    """

    block: str
    parameters: tuple[Parameter, ...] = ()
    children: tuple[tuple[str, Instance | Layers], ...] = ()
    stack: tuple[Axis, ...] = field(default=(), compare=False)
    axes: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def child(self, name: str) -> Instance | Layers:
        return next(c for n, c in self.children if n == name)


@dataclass(frozen=True)
class Layers:
    """The instances of a `repeat`: layer i is `bodies[schedule[i]]`; equal layers share one description."""

    bodies: tuple[Instance, ...]
    schedule: tuple[int, ...]


# One step of a path: a child's name, or the number of a layer.
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Reference:
    """An instance seen from another one: go `up` levels, then `down` by names (each layer number is a level)."""

    up: int = 0
    down: tuple[str, ...] = ()

    def resolve(self, base: Path) -> Path:
        return (*base[: len(base) - self.up], *self.down)

    def seen_from(self, outer: Reference, layer: bool = False) -> Reference:
        """This reference, taken relative to the instance `outer`, seen from where `outer` is seen from.

        `layer` says that `outer` names the layers of a repeat and that this starts from one of them.
        """
        levels: tuple[str | None, ...] = (*outer.down, None) if layer else outer.down
        if self.up > len(levels):
            return Reference(outer.up + self.up - len(levels), self.down)
        kept = levels[: len(levels) - self.up]
        if None in kept:
            raise ValueError("a reference into one layer has no name outside of its repeat")
        return Reference(outer.up, (*(k for k in kept if k is not None), *self.down))

    def __str__(self) -> str:
        return "^" * self.up + ".".join(self.down) if self.up or self.down else "self"


@dataclass(frozen=True)
class State:
    """What a step program remembers at one place (DESIGN: streams).

    `kind` is grow, ring, delay, carry or constant. `type` is the type read before the step; `axis` names the axis
    that grows (grow, ring) or holds the delayed tokens (delay). `width` is the ring's or the delay's length.
    `update` is the value after the step. `initial` fills delay and carry states before the first token: a number,
    or the name of a function of the module (no inputs) that computes it.
    """

    name: str
    kind: str
    type: TensorType
    update: Value
    axis: str | None = None
    width: int | None = None
    initial: float | str = 0.0


@dataclass(frozen=True)
class Function:
    """A method of a block, a fn, or the body of a repeat or scan, specialised to its argument types.

    Inputs are `input` nodes of the graph (one per entry of `inputs`, in order); outputs are `graph.outputs`.
    `outputs` names them: "value" (or "value.0", ...) and, after those, "penalty.NAME".
    `block` and `method` say what it is in the spec (`Attention`, `forward`); `block` is "" for a fn.
    `definition` is the full name of what it was made from (`weft.attention.attend`): back ends claim composites by it;
    `statics` are the compile-time arguments it was specialised to (`eps`, `scale`).
    """

    name: str
    graph: Graph
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[str, ...]
    block: str = ""
    method: str = "forward"
    definition: str = ""
    statics: tuple[tuple[str, Any], ...] = ()
    states: tuple[State, ...] = ()
    origin: Origin = field(default=NOWHERE, compare=False)

    def input(self, position: int) -> Value:
        """The graph value of input `position`."""
        name = self.inputs[position][0]
        return next(Value(n.id) for n in self.graph.nodes() if n.op == "input" and n["name"] == name)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(self.graph.type(v) for v in self.graph.outputs)


@dataclass(frozen=True)
class Module:
    """A compiled model in one form.

    `form` is `full` (whole sequences), `step` (cached decoding), with `+rows` when rows differ (padding, packing).
    `entry` names the function that a user calls; `stream` is `(T, S)`, the symbols of the token axis and of its
    history, or None. In full form S equals T; in step form T counts the new tokens, `P` the past ones, and S = P + T.
    `batch` and `sequence` are the size symbols of the two axes of the token input (`sequence` is T when there is a
    stream; an encoder has one too). "" when the entry has no such input. `stream_origin` is the stream's declaration.

    `defaults` are the inputs of the entry that a caller may leave out, with the number that stands in for all entries.
    `target` is what the module was prepared for (`cpu`), "" for any.

    Ambient values are known in every function without being passed (`ambient` nodes, typed in local axis names):
      step        past: int[], the number of tokens before this step
      full+rows   positions: int[B, T] and segments: int[B, T] (0 = padding; documents are 1, 2, ...)
      step+rows   positions: int[B, T], valid: bool[B, T], history_positions: int[B, S], history_valid: bool[B, S]
    Both forms of rows also have, for every other sequence that comes in (`source: int[B, N]`; see `sources.py`),
      source_positions: int[B, N] and source_segments: int[B, N] (0 = padding).
    """

    name: str
    functions: Mapping[str, Function]
    entry: str
    root: Instance
    stream: tuple[str, str] | None = None
    form: str = "full"
    batch: str = ""
    sequence: str = ""
    stream_origin: Origin = field(default=NOWHERE, compare=False)
    defaults: tuple[tuple[str, bool | int | float], ...] = ()
    encoder: str = ""
    target: str = ""

    @property
    def main(self) -> Function:
        return self.functions[self.entry]

    @property
    def entries(self) -> tuple[str, ...]:
        """The functions that a user calls: the entry and, where there is one, the encoder."""
        return (self.entry, self.encoder) if self.encoder else (self.entry,)

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """`(path, parameter)` of every learned tensor, in the order of the spec, layer by layer."""
        yield from _parameters(self.root, "")

    def parameter_count(self) -> int:
        """Number of learned values; the cost does not depend on the depth of the model."""
        return count_parameters(self.root)

    def instance(self, path: Path) -> Instance:
        """The instance at a path such as `("blocks", 3, "attn")`."""
        here: Instance | Layers = self.root
        for part in path:
            here = here.bodies[here.schedule[int(part)]] if isinstance(here, Layers) else here.child(str(part))
        if isinstance(here, Layers):
            raise KeyError(f"{path} names all layers of a repeat, not one of them")
        return here


def _parameters(instance: Instance, prefix: str) -> Iterator[tuple[str, Parameter]]:
    for parameter in instance.parameters:
        yield prefix + parameter.name, parameter
    for name, child in instance.children:
        if isinstance(child, Layers):
            for i, body in enumerate(child.schedule):
                yield from _parameters(child.bodies[body], f"{prefix}{name}.{i}.")
        else:
            yield from _parameters(child, f"{prefix}{name}.")


def count_parameters(child: Instance | Layers) -> int:
    """Number of learned values of an instance and all below it; equal layers are counted once and multiplied."""
    if isinstance(child, Layers):
        counts = [count_parameters(body) for body in child.bodies]
        return sum(counts[body] for body in child.schedule)
    own = sum(prod(parameter.shape) for parameter in child.parameters)
    return own + sum(count_parameters(inner) for _, inner in child.children)


def join(path: Path) -> str:
    """`("blocks", 3, "attn")` as `blocks.3.attn`."""
    return ".".join(map(str, path))


Attributes = Mapping[str, Any]
