"""The nearest known name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name` (letter case counts little), or None when none is like it."""
    found = all_near(name, candidates, 1)
    return found[0] if found else None


def all_near(name: str, candidates: Iterable[str], count: int) -> tuple[str, ...]:
    """At most `count` candidates like `name`, the most like first; ties keep the order given."""
    by_folded: dict[str, str] = {}
    for candidate in candidates:
        by_folded.setdefault(candidate.lower(), candidate)
    cutoff = 0.6 if len(name) > 2 else 0.5
    return tuple(by_folded[f] for f in get_close_matches(name[:60].lower(), list(by_folded), count, cutoff))
