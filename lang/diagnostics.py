"""Diagnostics as data: what is wrong, where, and what to do. Rendering lives in `render.py`."""

from __future__ import annotations

from dataclasses import dataclass

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


class WeftError(Exception):
    """Bad input: carries the diagnostics a person should see. Never shown as a traceback."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("; ".join(f"{d.code}: {d.title}" for d in diagnostics))
