"""Diagnostics as data: what is wrong, where, and what to do. Rendering lives in `render.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .source import Span


@dataclass(frozen=True)
class Label:
    """A second place worth showing, with its words."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A replacement an editor can apply."""

    span: Span
    replacement: str


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `code` names its page (`weft explain E0312`); `primary` carries the caret."""

    code: str
    title: str
    primary: Label | None = None
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    severity: str = "error"

    def seen_from(self, span: Span, text: str) -> Diagnostic:
        """This diagnostic with a label at `span`, where a file it does not show yet asked for what is wrong."""
        shown = [label.span.source for label in (self.primary, *self.labels) if label is not None]
        if self.primary is None or span.source in shown:
            return self
        return replace(self, labels=(*self.labels, Label(span, text)))


class WeftError(Exception):
    """Bad input: carries the diagnostics a person should see. Never shown as a traceback."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("; ".join(f"{d.code}: {d.title}" for d in diagnostics))

    def seen_from(self, span: Span, text: str) -> WeftError:
        """This error with a label in the file of `span`, unless that file is shown already."""
        return WeftError(*(d.seen_from(span, text) for d in self.diagnostics))
