"""More tokens than the model has room for."""

from collections.abc import Sequence
from typing import Any

from weft.runtime.generate import generate


class Short:
    """A model with room for eight tokens."""

    context = 8
    reads_source = False
    vocabulary = 16

    def open(self, count: int, sources: Sequence[Sequence[int]]) -> Any:
        raise AssertionError("nothing may be computed")


def trigger() -> None:
    generate(Short(), [1, 2, 3], maximum=100)
