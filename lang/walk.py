"""Walking a tree without recursion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from . import tree


def walk(*roots: tree.Tree) -> Iterator[tree.Tree]:
    """Every node below the roots, the roots first."""
    waiting: list[object] = list(reversed(roots))
    while waiting:
        here = waiting.pop()
        if isinstance(here, tuple):
            waiting += reversed(here)
        elif isinstance(here, tree.Tree):
            yield here
            waiting += [getattr(here, f.name) for f in reversed(fields(here)) if f.name != "span"]


def mentions(name: str, *roots: tree.Tree) -> bool:
    """Whether an expression below the roots uses `name`."""
    return any(isinstance(node, tree.Name) and node.id == name for node in walk(*roots))
