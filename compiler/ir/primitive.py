"""What a primitive is: a name, an arity, attributes, and how it is typed, run, streamed and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lang.axes import Axis, AxisError, TensorType

Array = NDArray[Any]
DTYPE = {"real": np.float64, "int": np.int64, "bool": np.bool_}


class Streaming(Enum):
    """How a primitive behaves when the stream is cut into steps (rules R0 to R7 of docs/design.md)."""

    POSITIONWISE = "R1: the stream is a batch axis"
    SOURCE = "R1: reads nothing that is streamed"
    POSITION = "R2: knows where it is"
    RENAME = "R3: what is renamed is remembered"
    DELAY = "R4: remembers the last n"
    CARRY = "R5: carries a state"
    REDUCES = "R6/R7: looks along an axis: never along the stream, along its history under a causal mask"
    REJECT = "R0: has no streaming form along the stream"


@dataclass(frozen=True)
class Frame:
    """What a primitive may know while it runs: the number behind every symbolic size."""

    sizes: Mapping[str, int]

    def size(self, axis: Axis) -> int:
        return axis.size.evaluate(self.sizes)

    def shape(self, type: TensorType) -> tuple[int, ...]:
        return tuple(self.size(a) for a in type.axes)


@dataclass(frozen=True)
class Primitive:
    """The facts of one primitive.

    `infer(types, attributes)` gives the result type or raises AxisError. `run(arrays, types, result, attributes,
    frame)` is its meaning in NumPy: `types` are the operands', `result` the result's. `axes` names the attributes that
    hold names of axes the primitive looks along (not a batch axis of it). `torch` and `onnx` hold a template
    or an operator's name for elementwise primitives; the others are written by the emitters.
    """

    name: str
    arity: tuple[int, int | None]
    infer: Callable[[tuple[TensorType, ...], Mapping[str, Any]], TensorType]
    run: Callable[[tuple[Array, ...], tuple[TensorType, ...], TensorType, Mapping[str, Any], Frame], Array]
    stream: Streaming = Streaming.POSITIONWISE
    attributes: tuple[str, ...] = ()
    commutative: bool = False
    torch: str = ""
    onnx: str = ""


def align(array: Array, source: TensorType, target: tuple[Axis, ...]) -> Array:
    """View `array` with the axes of `target`: transposed by name, length 1 where it lacks an axis."""
    names = [a.name for a in target]
    order = sorted(range(len(source.axes)), key=lambda i: names.index(source.axes[i].name))
    array = np.transpose(array, order)
    present = set(source.names)
    return array[tuple(slice(None) if n in present else None for n in names)]


def need(type: TensorType, name: str, operand: int = 0) -> Axis:
    """The axis of an operand. Raises AxisError when the operand lacks it."""
    if not type.has(name):
        raise AxisError("missing", f"`{name}` is not an axis of {type}", (operand,))
    return type.axis(name)
