"""Static lists: `("full", "sliding")`, `(1, 2, 3)`; the axes of a `dims` parameter and the letters of a text, too."""

from __future__ import annotations

from typing import Any

from ...lang import tree
from ...lang.walk import walk
from . import numbers
from .values import Pack, Tensor

KINDS = {"ints": "int", "reals": "real", "bools": "bool", "strings": "string"}
"""The kinds of parameters that take a list, with the kind of its entries."""


def entries(value: Any) -> tuple[Any, ...] | None:
    """The entries of a static list, or None when the value is none (several tensors are not a list)."""
    if isinstance(value, Pack):
        return value.axes
    if isinstance(value, str):
        return tuple(value)
    if isinstance(value, tuple) and not any(isinstance(v, Tensor) for v in value):
        return value
    return None


def alike(left: Any, right: Any) -> bool:
    """Whether two static values are equal: numbers and sizes by their value, lists entry by entry."""
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    a, b = entries(left), entries(right)
    if a is not None and b is not None:
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    x, y = numbers.number(left), numbers.number(right)
    return bool(left == right if x is None or y is None else x == y)


def only_indexed(name: str, methods: list[tree.Method]) -> tuple[str, ...] | None:
    """The lists of which methods use entry `name`, as in `kinds[name]`; None when they use `name` in another way."""
    seen: set[int] = set()
    lists: dict[str, None] = {}
    for node in walk(*methods):
        if isinstance(node, tree.Index) and isinstance(node.value, tree.Name) and isinstance(node.position, tree.Name):
            seen.add(id(node.position))
            if node.position.id == name:
                lists[node.value.id] = None
    if any(isinstance(n, tree.Name) and n.id == name and id(n) not in seen for n in walk(*methods)):
        return None
    given = {n for m in walk(*methods) for n in _introduced(m)}
    return None if given & {name, *lists} else tuple(lists)


def _introduced(node: tree.Tree) -> tuple[str, ...]:
    """The names that a part of a method gives to values."""
    if isinstance(node, tree.Let):
        return node.names
    return (node.name,) if isinstance(node, tree.Parameter | tree.ScanState) else ()
