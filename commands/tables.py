"""Tables as commands print them: quiet lines, a bold first column, numbers to the right."""

from __future__ import annotations

from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text


def heading(name: str, note: str = "") -> Text:
    """A title line: what it is about, and a quieter remark."""
    return Text.assemble((name, "bold"), ("  " + note if note else "", "dim"))


def table(first: str, *columns: tuple[str, str]) -> Table:
    """A table whose first column is named `first`; the others are `(title, "left" or "right")`."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    made.add_column(first, style="cyan", no_wrap=True)
    for title, side in columns:
        justify: Literal["left", "right"] = "right" if side == "right" else "left"
        made.add_column(title, justify=justify)
    return made
