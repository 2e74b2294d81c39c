"""A weight with several axes as a matrix: what comes in, what goes out, and copies of a `stack`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

from ...compiler.ir.module import Parameter

INPUTS = ("In", "V")
"""How the blocks of `nn` call what comes in: the pack of a Linear, the ids of an Embedding."""


@dataclass(frozen=True)
class Matrix:
    """How many axes of a weight are copies and how many come in (they stand in this order, then what goes out)."""

    copies: int
    inputs: int
    sizes: tuple[int, ...]

    def flat(self, weight: Tensor) -> Tensor:
        """[copies, in, out]."""
        return weight.reshape(self.count, self.width, -1)

    @property
    def count(self) -> int:
        return prod(self.sizes[: self.copies])

    @property
    def width(self) -> int:
        """How many entries come in."""
        return prod(self.sizes[self.copies : self.copies + self.inputs])


def matrix(parameter: Parameter) -> Matrix:
    """The form of `Linear.weight` and `Embedding.table`, by the names their axes have in the block."""
    names = [a.name.rstrip("0123456789") for a in parameter.type.axes]
    first = next(i for i, n in enumerate(names) if n in INPUTS)
    return Matrix(first, sum(n in INPUTS for n in names), parameter.shape)
