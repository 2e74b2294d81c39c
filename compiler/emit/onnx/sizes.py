"""Sizes while the model runs: a size that is no number becomes an int64 vector of length 1, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....lang.sizes import Size
from .scope import Operand, Scope, Wire


class Sizes:
    """What stands behind every size symbol. `sources` says how to find one, in the main graph."""

    def __init__(self, main: Scope) -> None:
        self.main = main
        self.sources: dict[str, Callable[[], Operand]] = {}
        self.maybe_empty: set[str] = set()

    def measure(self, symbol: str, wire: Wire, axis: int) -> None:
        """A symbol is the length of a dimension of an input (the first such input counts)."""
        self.sources.setdefault(symbol, lambda: self.main.emit("Shape", wire, start=axis, end=axis + 1)[0])

    def count(self, symbol: str, wire: Wire) -> None:
        """A symbol is the number that an input gives."""
        self.sources[symbol] = lambda: self.main.emit("Unsqueeze", wire, np.array([0], np.int64))[0]

    def define(self, symbol: str, size: Size) -> None:
        """A symbol is a polynomial of others."""
        self.sources.setdefault(symbol, lambda: self.vector(size))

    def can_be_empty(self, size: Size) -> bool:
        """Whether an axis of this size may have no entries (the past before the first token)."""
        return any(s in self.maybe_empty for s in size.symbols)

    def vector(self, size: Size) -> Operand:
        """The size as a vector of length 1."""
        if size.is_constant:
            return np.array([size.value], np.int64)
        total: Operand = None
        for monomial, coefficient in size.terms:
            term: Operand = np.array([coefficient.numerator], np.int64)
            for name, power in monomial:
                for _ in range(abs(power)):
                    factor = self.sources[name]()
                    one = isinstance(term, np.ndarray) and term[0] == 1 and power > 0
                    term = factor if one else self.main.emit("Mul" if power > 0 else "Div", term, factor)[0]
            if coefficient.denominator != 1:
                term = self.main.emit("Div", term, np.array([coefficient.denominator], np.int64))[0]
            total = term if total is None else self.main.emit("Add", total, term)[0]
        return total

    def scalar(self, size: Size) -> Operand:
        """The size as a scalar."""
        if size.is_constant:
            return np.array(size.value, np.int64)
        return self.main.emit("Squeeze", self.vector(size), np.array([0], np.int64))[0]

    def shape(self, sizes: Sequence[Size]) -> Operand:
        """Several sizes as one vector."""
        if all(s.is_constant for s in sizes):
            return np.array([s.value for s in sizes], np.int64)
        parts = [self.vector(s) for s in sizes]
        return parts[0] if len(parts) == 1 else self.main.emit("Concat", *parts, axis=0)[0]
