"""What a model reads: its tokens and, beside them, what an encoder reads; drawn at random, padded, packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.module import Module
from ..compiler.ir.sources import one_per_row, sources
from ..compiler.vocabulary import vocabulary

Array = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """The inputs of a model, by name: `tokens` is the text, `sources` are the other sequences, in order.

    `optional` are inputs with one entry for each token that may be left out.
    """

    module: Module
    tokens: str
    sources: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @staticmethod
    def of(module: Module) -> Reading:
        """The text is the input along the stream (of an encoder alone, along its one sequence)."""
        others, defaults = sources(module), dict(module.defaults)
        needed = {name: type for name, type in module.main.inputs if name not in defaults}
        found = [name for name, type in needed.items() if not any(str(a.size) in others for a in type.axes)]
        sizes = [a.size for a in needed[found[-1]].axes]
        optional = tuple(n for n, t in module.main.inputs if n in defaults and [a.size for a in t.axes] == sizes)
        return Reading(module, found[-1], tuple(n for n in needed if n not in found), optional)

    @property
    def vocabulary(self) -> int:
        """How many different tokens a text may hold."""
        known = vocabulary(self.module, self.tokens)
        if known is not None and one_per_row(self.module):
            return known
        scores = self.module.main.output_types[0].axes[-1].size.value
        return min(scores, known or scores)

    def drawn(self, rows: int, length: int, source: int, draw: np.random.Generator) -> dict[str, Array]:
        """Random values for all inputs: texts of one length, sources of another."""
        found: dict[str, Array] = {self.tokens: draw.integers(0, self.vocabulary, (rows, length))}
        known = sources(self.module)
        for name, type in self.module.main.inputs:
            if name in (*self.sources, *self.optional):
                lengths = {self.module.batch: rows, self.module.sequence: length, **dict.fromkeys(known, source)}
                shape = [lengths[s] if s in lengths else int(s) for s in (str(a.size) for a in type.axes)]
                limit = vocabulary(self.module, name) or self.vocabulary
                found[name] = draw.integers(0, limit, shape) if type.dtype == "int" else draw.normal(size=shape)
                found[name] = found[name] > 0 if type.dtype == "bool" else found[name]
        return found

    def ordered(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values as the emitted `forward` of a full form takes them."""
        return tuple(given[name] for name, _ in self.module.main.inputs if name in (self.tokens, *self.sources))

    def beside(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Those of the values that may be left out."""
        return {name: given[name] for name in self.optional if name in given}

    def read_first(self, given: Mapping[str, Array]) -> tuple[Array, ...]:
        """The values that `encode` takes."""
        return tuple(given[name] for name in self.sources)


def part(given: Mapping[str, Array], row: int, places: Mapping[str, slice]) -> dict[str, Array]:
    """A stretch of one row of every input."""
    return {name: values[row : row + 1, places[name]] for name, values in given.items()}


@dataclass(frozen=True)
class Rows:
    """Inputs of rows that differ, with `segments` (0 is padding) and `positions` for each of them."""

    values: Mapping[str, Array]
    segments: Mapping[str, Array]

    def positions(self, name: str) -> Array:
        """Where each entry stands in its document."""
        marks = self.segments[name]
        found = np.zeros_like(marks)
        for row, line in enumerate(marks):
            count: dict[int, int] = {}
            for i, mark in enumerate(line):
                found[row, i] = count.get(int(mark), 0) if mark else 0
                count[int(mark)] = count.get(int(mark), 0) + 1
        return found

    def ambient(self, names: Sequence[str]) -> tuple[Array, ...]:
        """Positions and segments of inputs, one after another, as emitted source takes them."""
        return tuple(array for name in names for array in (self.positions(name), self.segments[name]))


def padded(given: Mapping[str, Array], row: int, short: Mapping[str, int], side: str) -> tuple[Rows, dict[str, slice]]:
    """All inputs with one row cut short and padded on a side; where that row stands in each."""
    values, segments, places = dict[str, Array](), dict[str, Array](), dict[str, slice]()
    for name, array in given.items():
        length, count = array.shape[1], short[name]
        places[name] = slice(length - count, length) if side == "left" else slice(0, count)
        changed, mask = array.copy(), np.ones(array.shape[:2], np.int64)
        changed[row], mask[row] = 0, 0
        changed[row, places[name]], mask[row, places[name]] = array[row, :count], 1
        values[name], segments[name] = changed, mask
    return Rows(values, segments), places


def packed(given: Mapping[str, Array], first: Mapping[str, int]) -> Rows:
    """The first row of all inputs, taken as two documents of which the first has so many entries."""
    values = {name: array[:1] for name, array in given.items()}
    segments = {
        name: np.repeat([1, 2], [first[name], array.shape[1] - first[name]])[None] for name, array in values.items()
    }
    return Rows(values, segments)
