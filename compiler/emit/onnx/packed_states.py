"""The delays and carries of a layer as two tensors: the state of a short convolution, and that of a recurrence.

ONNX Runtime's generation library passes recurrent layers so: `past.N.conv` of rank 3 and `past.N.recurrent` of rank 4,
both or none, of the same shapes in every layer, and zero before the first token. A state that starts at another number
is given that number by the graph in its first step. Nothing else changes: states are split and joined, never computed
with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ....lang.sizes import Size
from ...ir.module import Path, join
from .interface import Port
from .layout import Writer
from .plan import StoredState
from .scope import Operand, Wire, ints

# What each kind of state is packed into, and the rank of that tensor.
PACKED = {"delay": ("conv", 3), "carry": ("recurrent", 4)}

Ports = Mapping[Path, tuple[Port, Port]]


@dataclass(frozen=True)
class Part:
    """A state inside of a packed one: its lengths for one row, and the number that fills it before the first token."""

    path: Path
    shape: tuple[int, ...]
    initial: float

    @property
    def length(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Packed:
    """States that pass in by one port and leave by another, one after another in each row.

    One without parts stands in for what a layer does not have: zeros of length 1.
    """

    kind: str
    read: Port
    written: Port
    parts: tuple[Part, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the tensor for one row."""
        return tuple(n for n in self.read.shape if isinstance(n, int))


def packed(states: Mapping[Path, StoredState], ports: Ports) -> tuple[Packed, ...]:
    """The packed states of a step, in the order of its layers; () when there are none, or some do not fit."""
    apart = [path for path, stored in states.items() if stored.state.kind in PACKED]
    if not apart or unpackable(states, ports) is not None:
        return ()
    layers: dict[Path, list[Path]] = {}
    for path in apart:
        layers.setdefault(_layer(path), []).append(path)
    shapes = {tuple(_shape(p, kind) for kind, p in _kinds(states, ports, paths)) for paths in layers.values()}
    groups = list(layers.values()) if len(shapes) == 1 else [apart]  # layers that differ pass as one
    found = []
    for number, paths in enumerate(groups):
        for kind, parts in _kinds(states, ports, paths):
            name, _ = PACKED[kind]
            shape: tuple[int | str, ...] = ("batch", *_shape(parts, kind))
            read, written = (Port(f"{when}.{number}.{name}", "real", shape) for when in ("past", "present"))
            found.append(Packed(kind, read, written, parts))
    return tuple(found)


def unpackable(states: Mapping[Path, StoredState], ports: Ports) -> str | None:
    """Why the delays and carries of a model cannot be packed; None when they can, or when there are none."""
    for path, stored in states.items():
        state, shape = stored.state, ports[path][0].shape
        if state.kind not in PACKED:
            continue
        if state.type.dtype != "real":
            return f"the state `{join(path)}` holds no real numbers"
        if isinstance(state.initial, str):
            return f"the state `{join(path)}` starts at values that are learned"
        if shape[:1] != ("batch",) or not all(isinstance(n, int) and n > 0 for n in shape[1:]):
            return f"the state `{join(path)}` is no block of one size for each row"
    return None


def _layer(path: Path) -> Path:
    """The layer that a state belongs to: its path up to the first number."""
    numbers = [i for i, part in enumerate(path) if isinstance(part, int)]
    return path[: numbers[0] + 1] if numbers else ()


def _kinds(
    states: Mapping[Path, StoredState], ports: Ports, paths: Iterable[Path]
) -> list[tuple[str, tuple[Part, ...]]]:
    """The parts of each kind among some states."""
    found: dict[str, list[Part]] = {kind: [] for kind in PACKED}
    for path in paths:
        state, (port, _) = states[path].state, ports[path]
        assert not isinstance(state.initial, str)
        lengths = tuple(n for n in port.shape if isinstance(n, int))
        found[state.kind].append(Part(path, lengths, state.initial))
    return [(kind, tuple(parts)) for kind, parts in found.items()]


def _shape(parts: Sequence[Part], kind: str) -> tuple[int, ...]:
    """The lengths of a packed state for one row: those of a part that is alone, if it has no more than fit."""
    rank = PACKED[kind][1] - 1
    alone = parts[0].shape if len(parts) == 1 and len(parts[0].shape) <= rank else None
    lengths = alone or (sum(part.length for part in parts) or 1,)
    return (*lengths, *(1 for _ in range(rank - len(lengths))))


def unpack(w: Writer, packed: Packed, given: Wire) -> dict[Path, Wire]:
    """The states inside of a packed one.

    The split copies, and alone reads what came in: who runs the model may give one buffer for both ports.
    """
    if not packed.parts:
        return {}
    flat: Operand = given
    if len(packed.shape) > 1 and prod(packed.shape[1:]) > 1:
        flat = w.emit("Reshape", given, ints(0, -1))
    lengths = ints(*(part.length for part in packed.parts))
    pieces = w.several("Split", flat, lengths, outputs=len(packed.parts), axis=1)
    found = {}
    for part, piece in zip(packed.parts, pieces, strict=True):
        wire = w.emit("Reshape", piece, ints(0, *part.shape))
        if part.initial != 0:
            first = w.emit("Equal", w.sizes.scalar(Size.symbol("P")), np.array(0, np.int64))
            wire = w.emit("Where", first, np.array(part.initial, np.float32), wire)
        found[part.path] = wire
    return found


def pack(w: Writer, packed: Packed, given: Wire, updates: Mapping[Path, Wire]) -> Wire:
    """What leaves by the port: the states after the step, or what came in where there are none."""
    if not packed.parts:
        return w.scope.write("Identity", [given])[0]
    if len(packed.parts) == 1:
        return w.emit("Reshape", updates[packed.parts[0].path], ints(0, *packed.shape))
    ones = (1 for _ in packed.shape[1:])
    shape = ints(0, -1, *ones)
    return w.emit("Concat", *(w.emit("Reshape", updates[part.path], shape) for part in packed.parts), axis=1)
