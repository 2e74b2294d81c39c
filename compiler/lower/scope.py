"""Scopes: names of a block, of what encloses it, of its file and of the kernel, evaluated when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.program import Unit, word_span
from ...lang.source import Span


def declared_once(names: Iterable[tuple[str, Span]]) -> None:
    """Raises E0202 when a name stands among `(name, where its declaration is)` twice."""
    first: dict[str, Span] = {}
    for name, span in names:
        if name in first:
            raise WeftError(errors.duplicate_name(name, word_span(span, name), word_span(first[name], name)))
        first[name] = span


@dataclass(eq=False)
class Lazy:
    """A name whose value is computed on first use; asking for it while it is computed is a circle."""

    name: str
    compute: Callable[[], Any]
    state: str = "waiting"
    value: Any = None

    def force(self, span: Span) -> Any:
        if self.state == "running":
            raise WeftError(errors.circular(self.name, span))
        if self.state == "waiting":
            self.state = "running"
            self.value = self.compute()
            self.state = "done"
        return self.value


@dataclass(eq=False)
class Scope:
    """Names of one place. A name is looked up here, then outwards, then in the file `unit`."""

    unit: Unit
    parent: Scope | None = None
    entries: dict[str, Any] = field(default_factory=dict)

    def find(self, name: str, span: Span) -> tuple[bool, Any]:
        """`(found, value)` among the entries of this scope and those around it."""
        here: Scope | None = self
        while here is not None:
            if name in here.entries:
                entry = here.entries[name]
                return True, entry.force(span) if isinstance(entry, Lazy) else entry
            here = here.parent
        return False, None

    def within(self, around: Scope | None) -> Scope:
        """The same names, and behind them those of `around`."""
        outer = around if self.parent is None else self.parent.within(around)
        return Scope(self.unit, outer, self.entries)

    def names(self) -> list[str]:
        found: list[str] = []
        here: Scope | None = self
        while here is not None:
            found += here.entries
            here = here.parent
        return [*found, *self.unit.names()]
