"""What a pass is, and how passes are applied: the module is verified after every one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..ir.module import Module
from ..ir.verify import verify


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass with a name and a pure function from modules to modules."""

    @property
    def name(self) -> str:
        """What messages and traces call the pass."""

    def run(self, module: Module) -> Module:
        """The changed module; the one given stays as it is. Bad input raises WeftError."""


@dataclass(frozen=True)
class Step:
    """One pass of a run: nodes of the module before and after, and the seconds it took (verifying apart)."""

    name: str
    before: int
    after: int
    seconds: float


def apply(module: Module, passes: Sequence[Pass]) -> Module:
    """The module after all passes. Raises WeftError (E0801) when a pass leaves it inconsistent."""
    return traced(module, passes)[0]


def traced(module: Module, passes: Sequence[Pass]) -> tuple[Module, tuple[Step, ...]]:
    """Like `apply`, with one step for every pass."""
    steps = []
    for one in passes:
        started = time.perf_counter()
        changed = one.run(module)
        seconds = time.perf_counter() - started
        verify(changed, one.name)
        steps.append(Step(one.name, size(module), size(changed), seconds))
        module = changed
    return module, tuple(steps)


def size(module: Module) -> int:
    """The number of nodes in all functions."""
    return sum(len(f.graph) for f in module.functions.values())
