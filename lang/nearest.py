"""The nearest known name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name` (letter case counts little), or None when none is like it."""
    by_folded: dict[str, str] = {}
    for candidate in candidates:
        by_folded.setdefault(candidate.lower(), candidate)
    cutoff = 0.6 if len(name) > 2 else 0.5
    found = get_close_matches(name[:60].lower(), list(by_folded), 1, cutoff)
    return by_folded[found[0]] if found else None
