"""What is derived: the form that is wanted, and what one function became."""

from __future__ import annotations

from dataclasses import dataclass

from ...lang.axes import TensorType
from .facts import Fact


@dataclass(frozen=True)
class Form:
    """`step`: new tokens after remembered ones. `rows`: rows differ in padding, documents or length."""

    step: bool = False
    rows: bool = False

    def __str__(self) -> str:
        return ("step" if self.step else "full") + ("+rows" if self.rows else "")


@dataclass(frozen=True)
class Derived:
    """A derived function: its name, its output types and what is known of them.

    `windows`: for each look at a history that was passed in, how far it looks back (None: to the beginning).
    """

    name: str
    outputs: tuple[TensorType, ...]
    facts: tuple[Fact, ...]
    windows: tuple[int | None, ...]
