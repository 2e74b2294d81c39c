"""The page of an error code: what it means, a wrong example, the right one."""

from __future__ import annotations

import re
from importlib.resources import files

from . import errors
from .diagnostics import WeftError
from .nearest import nearest
from .outline import library


def _near(asked: str) -> tuple[str, ...]:
    """The three codes nearest to the one asked for, those of its area (E03..) first, in order."""
    digits = asked.removeprefix("E")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        return ()
    by_distance = sorted(
        errors.CODES, key=lambda known: (known[:3] != asked[:3], abs(int(known[1:]) - int(digits)), known)
    )
    return tuple(sorted(by_distance[:3]))


def explain(code: str) -> str:
    """The Markdown page for `code` (`E0312`, also `e0312` or `312`). Raises WeftError for a code that is none."""
    wanted = code.strip().upper()
    if re.fullmatch("[0-9]{1,4}", wanted):
        wanted = f"E{wanted:>04}"
    if wanted not in errors.CODES:
        name = None if wanted[:1] == "E" and wanted[1:].isdigit() else nearest(code, library())
        raise WeftError(errors.unknown_code(code, _near(wanted), name))
    return files(__package__).joinpath("pages", f"{wanted}.md").read_text("utf-8")
