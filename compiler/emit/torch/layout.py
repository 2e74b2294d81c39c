"""Axes by name on tensors by position: what must be moved or inserted so that operands broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ....lang.axes import Axis
from .text import Expr, Level


def merged(layouts: Sequence[tuple[Axis, ...]], preferred: Sequence[str]) -> tuple[Axis, ...]:
    """All axes of several tensors in an order that moves as few as possible; `preferred` decides where it is free."""
    axes: dict[str, Axis] = {}
    for layout in layouts:
        for axis in layout:
            axes.setdefault(axis.name, axis)
    before: dict[str, set[str]] = {name: set() for name in axes}
    for layout in layouts:
        for left, right in pairwise(layout):
            before[right.name].add(left.name)
    rank = {name: i for i, name in enumerate(axes)}
    rank = {name: preferred.index(name) if name in preferred else len(preferred) + i for name, i in rank.items()}
    order: list[str] = []
    while len(order) < len(axes):
        free = [n for n in axes if n not in order and before[n] <= set(order)]
        if not free:  # the tensors disagree: keep the order of the largest
            largest = [a.name for a in max(layouts, key=len)]
            return tuple(axes[n] for n in (*largest, *(n for n in axes if n not in largest)))
        order.append(min(free, key=lambda n: rank[n]))
    return tuple(axes[n] for n in order)


def ordered(expr: Expr, names: Sequence[str]) -> Expr:
    """The tensor with its axes in the order of `names` (which may hold more)."""
    wanted = [n for n in names if n in expr.names]
    if list(expr.names) == wanted:
        return expr
    places = [expr.names.index(n) for n in wanted]
    moved = [i for i, p in enumerate(places) if i != p]
    text = expr.at(Level.ATOM)
    if len(moved) == 2:
        last = len(places) - 1
        text += ".mT" if moved == [last - 1, last] else f".transpose({moved[0]}, {moved[1]})"
    else:
        text += f".permute({', '.join(map(str, places))})"
    return replace(expr.with_text(text), axes=tuple(expr.axes[p] for p in places))


def aligned(expr: Expr, target: Sequence[str], complete: bool = False) -> Expr:
    """The tensor ready to broadcast against one with the axes `target`: in order, with length 1 where it lacks one.

    Leading axes need not be there unless it must be `complete`.
    """
    expr = ordered(expr, target)
    present = [n in expr.names for n in target]
    if True not in present:
        return expr
    entries = [":" if p else "None" for p in (present if complete else present[present.index(True) :])]
    if "None" not in entries:
        return expr
    return expr.with_text(f"{expr.at(Level.ATOM)}[{shortest(entries)}]")


def shortest(entries: Sequence[str]) -> str:
    """The entries of a full subscript, `:` for whole axes, written as briefly as possible."""
    front = list(entries)
    while front[-1] == ":":
        front.pop()
    back = list(entries)
    while back[0] == ":":
        back.pop(0)
    back = ["...", *back] if len(back) < len(entries) else back
    return ", ".join(front if len(front) <= len(back) else back)

