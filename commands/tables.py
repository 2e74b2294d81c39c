"""Tables as commands print them: quiet lines, a bold first column, numbers to the right."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def heading(name: str, note: str = "") -> Text:
    """A title line: what it is about, and a quieter remark."""
    return Text.assemble((name, "bold"), ("  " + note if note else "", "dim"))


def table(first: str, *columns: str) -> Table:
    """A table with these column titles; a title that ends with ` >` is that of a column of numbers."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    made.add_column(first, style="cyan", no_wrap=True)
    for title in columns:
        number = title.endswith(">")
        made.add_column(title.rstrip(" >"), justify="right" if number else "left", no_wrap=number)
    return made
