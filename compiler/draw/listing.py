"""A source text as HTML lines with its words coloured."""

from __future__ import annotations

import re
from html import escape

from ...lang.program import STDLIB
from ...lang.source import Source
from ...lang.words import ITEMS, RESERVED

_SOMETIMES = ("param", "dim", "stream", "require", "penalty", "next", "yield", "from", "as", "of", "stage")
_WORDS = "|".join((*ITEMS, *sorted(RESERVED), *_SOMETIMES))
_TOKEN = re.compile(
    rf"""
    (?P<comment>\#.*)
    | (?P<string>"(?:\\.|[^"\\])*"?)
    | (?P<word>\b(?:{_WORDS})\b)
    | (?P<number>\b\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?\b)
    """,
    re.VERBOSE,
)


def shown_path(source: Source) -> str:
    """The path of a source as a page shows it: files of the standard library by their place in it."""
    standard = STDLIB.as_posix()
    return source.path.removeprefix(standard[: -len(STDLIB.name)]) if source.path.startswith(standard) else source.path


def listing(source: Source) -> str:
    """Every line as a `<div>`; a reader's eye finds comments, strings, words of the language and numbers."""
    lines = source.text.removesuffix("\n").split("\n")
    return "".join(f"<div>{_coloured(line)}\n</div>" for line in lines)


def _coloured(line: str) -> str:
    parts = []
    at = 0
    for found in _TOKEN.finditer(line):
        parts.append(escape(line[at : found.start()]))
        parts.append(f'<span class="{found.lastgroup}">{escape(found.group())}</span>')
        at = found.end()
    parts.append(escape(line[at:]))
    return "".join(parts)
