"""Where adapters stand in a model: the instances of blocks of `adapters.llm`, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..lang.axes import Axis
from ..lang.program import Program, name_span
from .ir.module import Path, join
from .lower import numbers
from .lower.elaborate import Elaborator
from .lower.model import deep_recursion, model_item
from .lower.scope import Lazy
from .lower.values import Component, Placed, PlacedLayers

LIBRARY = "weft.adapters"


@dataclass(frozen=True)
class StandIn:
    """An adapter at a path. `settings` are its numbers by name: `rank`, `scale`, sizes such as `V`."""

    path: str
    block: str
    settings: Mapping[str, bool | int | float]


def stand_ins(program: Program, model: str) -> dict[str, StandIn]:
    """All adapters of a model by path, in the order of the model; of nested ones the outer first."""
    unit, item = model_item(program, model)
    with deep_recursion():
        elaborator = Elaborator()
        component = elaborator.item(unit, item, name_span(item))
        assert isinstance(component, Component)
        return {s.path: s for s in _found(elaborator.place(component), ())}


def _found(placed: Placed, path: Path) -> Iterator[StandIn]:
    if placed.component.unit.prefix == LIBRARY:
        yield StandIn(join(path), placed.component.declaration.name, dict(_settings(placed)))
    for name, child in placed.children.items():
        if isinstance(child, PlacedLayers):
            for number, body in enumerate(child.schedule):
                yield from _found(child.bodies[body], (*path, name, number))
        else:
            yield from _found(child, (*path, name))


def _settings(placed: Placed) -> Iterator[tuple[str, Any]]:
    for name, entry in placed.scope.entries.items():
        value = entry.value if isinstance(entry, Lazy) else entry
        if isinstance(value, Axis):
            value = value.size.value
        if isinstance(value, bool | int | float) and numbers.number(value) is not None:
            yield name, value
