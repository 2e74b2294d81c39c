"""The syntax tree of a `.llm` file: frozen nodes, each with the span it was read from.

Two trees are equal when they mean the same text; spans and comments do not count, which is
what lets the formatter check its own output.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from dataclasses import dataclass, field

from ..source import Source
from .base import *
from .checkpoints import *
from .expressions import *
from .items import *
from .recipes import *

Item = Use | Fn | Block | Interface | Model | DerivedModel | Rule | Checkpoint | Recipe


@dataclass(frozen=True)
class File:
    """One parsed file. Items that did not parse are missing here and reported beside it."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...]
