"""What every node of the syntax tree has."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..source import Span


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A node of the tree. `span` is where it stands; it takes no part in comparisons."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class ItemTree(Tree):
    doc: str = field(default="", compare=False)
