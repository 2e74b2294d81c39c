"""Where commands write: results to one stream, what is said about them to the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType

from ..lang.diagnostics import Diagnostic
from ..lang.render import render


@dataclass(frozen=True)
class Terminal:
    """`out` takes results (text, tables, JSON), `err` takes diagnostics and progress.

    Both colour only what a terminal shows, and nothing when NO_COLOR is set.
    """

    out: Console
    err: Console

    def write(self, text: str) -> None:
        """A result as it is, character by character."""
        self.out.file.write(text)
        self.out.file.flush()

    def show(self, *parts: RenderableType) -> None:
        """Tables, trees and lines, laid out for the width of the terminal."""
        for part in parts:
            self.out.print(part)

    def json(self, value: Any) -> None:
        self.write(json.dumps(value, indent=2) + "\n")

    def say(self, text: str) -> None:
        """A line about what happens."""
        self.err.print(text, soft_wrap=True)

    def complain(self, *diagnostics: Diagnostic) -> None:
        """Diagnostics as a person reads them."""
        if diagnostics:
            color = self.err.is_terminal and not self.err.no_color
            self.err.file.write(render(diagnostics, color))
            self.err.file.flush()
