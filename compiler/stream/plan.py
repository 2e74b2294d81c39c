"""The state plan: everything a step program remembers, with its size per token and in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...lang.axes import TensorType
from ...lang.sizes import Size
from ..ir.module import Module, State, join
from ..ir.needs import needs


@dataclass(frozen=True)
class StateEntry:
    """One state of one layer. `type` is what is read before a step, with the symbols of batch and past.

    `bytes_per_token` is what every remembered token adds for one row (a ring: until it is full); `fixed_bytes` is what
    the state takes for one row whatever the length (a ring: at most). Only states that grow can be cut back, for reuse
    of a prefix or to take back speculative tokens.
    """

    path: str
    kind: str
    type: TensorType
    bytes_per_token: int
    fixed_bytes: int
    can_be_cut: bool


# Bytes per value of the dtypes that are not real.
WIDTHS = {"int": 8, "bool": 1}


def state_plan(module: Module, width: int = 4, sizes: Mapping[str, int] | None = None) -> tuple[StateEntry, ...]:
    """The states of a step module in order; `width` is the bytes of a real number.

    `sizes` gives numbers to other symbols, such as the length of an encoder's input (else they count as 1).
    """
    found = needs(module)[module.entry].states
    return tuple(_entry(join((*path, state.name)), state, module, width, sizes or {}) for path, state in found)


def _entry(path: str, state: State, module: Module, width: int, sizes: Mapping[str, int]) -> StateEntry:
    growing = state.axis if state.kind in ("grow", "ring") else None
    count = Size.of(WIDTHS.get(state.type.dtype, width))
    for axis in state.type.axes:
        if axis.name != growing and str(axis.size) != module.batch:
            count = count * axis.size
    row = count.evaluate({symbol: sizes.get(symbol, 1) for symbol in count.symbols})
    if state.kind == "grow":
        return StateEntry(path, state.kind, state.type, row, 0, True)
    if state.kind == "ring":
        return StateEntry(path, state.kind, state.type, row, row * (state.width or 0), False)
    return StateEntry(path, state.kind, state.type, 0, row, False)
