"""Drafts out of the text itself: what followed the last time that the same tokens stood there."""

from __future__ import annotations

from collections.abc import Sequence


class Lookup:
    """A text, and where each run of at most `longest` tokens last stood in it (prompt lookup, Saxena 2023)."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._text: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}

    def push(self, tokens: Sequence[int]) -> None:
        """The text goes on."""
        for token in tokens:
            for run in self._runs():  # only now something follows them
                self._ends[run] = len(self._text)
            self._text.append(token)

    def draft(self, ahead: int) -> list[int]:
        """At most `ahead` tokens that followed the last tokens of the text before: the longest run that is found."""
        for run in self._runs():
            if run in self._ends:
                place = self._ends[run]
                return self._text[place : place + ahead]
        return []

    def _runs(self) -> list[tuple[int, ...]]:
        longest = min(self._longest, len(self._text))
        return [tuple(self._text[-length:]) for length in range(longest, 0, -1)]
