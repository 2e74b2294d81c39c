"""Stop strings: where a text ends, found across the borders of its pieces."""

from __future__ import annotations

from collections.abc import Collection


class StopStrings:
    """Passes a text on piece by piece, up to the first stop string.

    What may be the beginning of one is held back until it is known. `found` is the string that ended the text: the one
    that was complete first, the longest of several. So the pieces do not matter.
    """

    def __init__(self, strings: Collection[str]) -> None:
        self._strings = tuple(s for s in strings if s)
        self._held = ""
        self.found: str | None = None

    def push(self, piece: str) -> str:
        """What of the text is certain now."""
        if self.found is not None:
            return ""
        text = self._held + piece
        ends = [(text.find(s) + len(s), text.find(s), s) for s in self._strings if s in text]
        if ends:
            _, place, self.found = min(ends)
            self._held = ""
            return text[:place]
        held = max((_overlap(text, s) for s in self._strings), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """The rest of a text that ended by itself."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, string: str) -> int:
    """How much of the end of a text is the beginning of a string."""
    for length in range(min(len(text), len(string) - 1), 0, -1):
        if text.endswith(string[:length]):
            return length
    return 0
