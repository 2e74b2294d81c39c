"""The page of an error code: what it means, a wrong example, the right one."""

from __future__ import annotations

import re
from importlib.resources import files

from . import errors
from .diagnostics import WeftError
from .nearest import all_near


def explain(code: str) -> str:
    """The Markdown page for `code` (`E0312`, also `e0312` or `312`). Raises WeftError for a code that is none."""
    wanted = code.strip().upper()
    if re.fullmatch("[0-9]{1,4}", wanted):
        wanted = f"E{wanted:>04}"
    if wanted not in errors.CODES:
        raise WeftError(errors.unknown_code(code, all_near(wanted, sorted(errors.CODES), 3)))
    return files(__package__).joinpath("pages", f"{wanted}.md").read_text("utf-8")
