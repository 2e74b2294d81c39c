"""What decoding needs of an engine: rows of text that it reads on in, keeps some of, and can take back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tokens = Sequence[int]


class Texts(Protocol):
    """Rows of text that an engine has read so far. Each is read on in at its own end."""

    def read(self, tokens: Sequence[Tokens], scores: int = 1) -> Array:
        """Reads tokens in every row, at least one; the logits [rows, scores, V] after the last ones of each row.

        Of a row that reads fewer than `scores` tokens the first logits mean nothing. The array may be overwritten by
        the next `read`.
        """

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some of the rows, in a new order; a row may occur more than once."""

    def mark(self) -> None:
        """What is read from now on may be taken back."""

    def cut(self, count: int) -> None:
        """Takes back what was read since the mark, until `count` tokens of it are left. Only where there is one row."""


class Engine(Protocol):
    """A model that reads texts. `context` is the most tokens that one may have (None: no limit of its own).

    One that `reads_source` has an encoder, whose source it reads before a text. `vocabulary` is the number of logits
    per token, where it is known before a text is read.
    """

    @property
    def context(self) -> int | None: ...

    @property
    def reads_source(self) -> bool: ...

    @property
    def vocabulary(self) -> int | None: ...

    def open(self, count: int, sources: Sequence[Tokens] = ()) -> Texts:
        """A number of empty texts, each with its source where the engine reads one."""


S = TypeVar("S")
Read = Callable[[S, Tokens, int], tuple[Array, S]]
"""From what is remembered, more tokens, and for how many of them logits are wanted: these, and what to remember now."""


@dataclass(frozen=True)
class _Row(Generic[S]):
    """One text: what is remembered, and tokens that it was told of and has still to read."""

    state: S
    pending: tuple[int, ...] = ()


class Apart(Generic[S]):
    """Texts that are read one after the other; what is remembered of each is a value, so nothing needs copying."""

    def __init__(self, read: Read[S], starts: Sequence[S]) -> None:
        self._read = read
        self._rows = [_Row(start) for start in starts]
        self._marked = self._rows
        self._since: list[int] = []

    def read(self, tokens: Sequence[Tokens], scores: int = 1) -> Array:
        found, rows = [], []
        for row, new in zip(self._rows, tokens, strict=True):
            logits, state = self._read(row.state, (*row.pending, *new), min(scores, len(new)))
            missing = scores - len(logits)
            found.append(np.concatenate([np.zeros((missing, logits.shape[1])), logits]) if missing else logits)
            rows.append(_Row(state))
        self._rows = rows
        self._since.extend(tokens[0])
        return np.stack(found)

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[row] for row in rows]
        self.mark()

    def mark(self) -> None:
        self._marked, self._since = self._rows, []

    def cut(self, count: int) -> None:
        if count < len(self._since):
            (row,) = self._marked
            self._since = self._since[:count]
            self._rows = [replace(row, pending=(*row.pending, *self._since))]
