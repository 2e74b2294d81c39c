"""Rows of tokens to train on: which ones a step sees is a function of the seed and of a few counters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lang import errors
from ..lang.diagnostics import WeftError
from ..lang.source import Span
from .corpus import Corpus
from .random import mix, shuffled, uniform
from .tokens import Tokens


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of equal length, each array [rows, length].

    `labels` are the tokens that follow; `weight` is 1 where a label counts. `segments` number the documents of a row
    from 1 (0 is padding); `positions` count the tokens of a document from where it begins in the row.
    """

    tokens: NDArray[np.int64]
    labels: NDArray[np.int64]
    weight: NDArray[np.float32]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]

    @property
    def counted(self) -> float:
        """Number of labels that count."""
        return float(self.weight.sum(dtype=np.float64))

    def part(self, start: int, stop: int) -> Batch:
        """Some of the rows."""
        here = slice(start, stop)
        return Batch(self.tokens[here], self.labels[here], self.weight[here], self.positions[here], self.segments[here])


@dataclass(frozen=True)
class Position:
    """How many rows were drawn from each source: all that is needed to go on with the next row."""

    drawn: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Batches:
    """The training rows of a corpus in the order that `seed` gives.

    An epoch of a source cuts its tokens into rows at an offset of its own and visits them in an order of its own.
    """

    corpus: Corpus
    length: int
    seed: int

    def start(self) -> Position:
        return Position((0,) * len(self.corpus.train))

    def rows_per_epoch(self) -> int:
        """Rows of all sources together, each once."""
        return sum(self._rows(t) for t in self.corpus.train)

    def take(self, position: Position, rows: int) -> tuple[Batch, Position]:
        """The next `rows` rows and the position after them."""
        drawn = list(position.drawn)
        picked = []
        for _ in range(rows):
            source = self._source(sum(drawn))
            picked.append(self._row(source, drawn[source]))
            drawn[source] += 1
        return stack(picked), Position(tuple(drawn))

    def _source(self, number: int) -> int:
        """Which source row `number` of the run comes from."""
        point = uniform(self.seed, 1, number)
        for source, share in enumerate(self.corpus.shares):
            point -= share
            if point < 0:
                return source
        return len(self.corpus.shares) - 1

    def _rows(self, tokens: Tokens) -> int:
        return max(1, (len(tokens.ids) - self.length) // self.length)

    def _row(self, source: int, number: int) -> Batch:
        """Row `number` (from 0, over all epochs) of a source."""
        tokens = self.corpus.train[source]
        count = self._rows(tokens)
        epoch, index = divmod(number, count)
        slack = min(self.length, len(tokens.ids) - 1 - count * self.length)
        offset = mix(self.seed, 2, source, epoch) % (slack + 1)
        start = offset + self.length * shuffled(index, count, self.seed, 3, source, epoch)
        return cut(tokens, start, self.length, self.length)


def check_length(corpus: Corpus, length: int, span: Span | None = None) -> None:
    """WeftError unless every source fills at least one training row and has something to validate with."""
    for tokens in corpus.train:
        if len(tokens.ids) <= length:
            raise WeftError(errors.too_little_data("training text", len(tokens.ids), length + 1, span))


def validation_row(tokens: Tokens, start: int, length: int) -> Batch:
    """The row that begins at `start`; beyond the last label it is padded with tokens that do not count."""
    return cut(tokens, start, min(length, len(tokens.ids) - 1 - start), length)


def cut(tokens: Tokens, start: int, count: int, length: int) -> Batch:
    """`count` tokens from `start` on as a row of `length`, padded at its end."""
    ids = np.zeros(length + 1, np.int64)
    ids[: count + 1] = tokens.ids[start : start + count + 1]
    ids[count + 1 :] = ids[count]
    first, last = np.searchsorted(tokens.starts, (start + 1, start + count))
    begins = (tokens.starts[first:last] - np.uint64(start)).astype(np.int64)
    segments = np.ones(length, np.int64)
    segments[begins] += 1
    segments = 1 + np.cumsum(segments - 1)
    places = np.arange(length)
    positions = places.copy()
    for begin in begins:
        positions[begin:] = places[begin:] - begin
    real = places < count
    return Batch(
        ids[None, :-1],
        ids[None, 1:],
        real.astype(np.float32)[None],
        np.where(real, positions, 0)[None],
        np.where(real, segments, 0)[None],
    )


def stack(rows: list[Batch]) -> Batch:
    """Batches of equal length as one."""
    return Batch(
        np.concatenate([r.tokens for r in rows]),
        np.concatenate([r.labels for r in rows]),
        np.concatenate([r.weight for r in rows]),
        np.concatenate([r.positions for r in rows]),
        np.concatenate([r.segments for r in rows]),
    )
