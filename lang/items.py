"""The text of a file cut into items, so that a mistake in one leaves the others whole."""

from __future__ import annotations

from dataclasses import dataclass

from lark.lexer import Token

from .words import INFIX_AFTER, INFIX_BEFORE, ITEMS

_OPENERS = frozenset(("LPAR", "LSQB", "LBRACE"))
_CLOSERS = frozenset(("RPAR", "RSQB", "RBRACE"))


@dataclass(frozen=True)
class Chunk:
    """The tokens of one item. `known` is False when it does not begin with a word that begins items."""

    tokens: tuple[Token, ...]
    known: bool
    following: Token | None

    @property
    def start(self) -> int:
        return self.tokens[0].start_pos or 0

    @property
    def end(self) -> int:
        return self.tokens[-1].end_pos or 0


def split(tokens: tuple[Token, ...], text: str) -> tuple[Chunk, ...]:
    """One chunk for each item.

    An item begins at a keyword that opens a line outside of all brackets. A keyword at column 0
    that is followed by a name begins one too, brackets or not, so a missing `}` stays in its item.
    """
    starts: list[tuple[int, bool]] = []
    depth = 0
    previous: Token | None = None
    opened = False
    for i, token in enumerate(tokens):
        if token.type == "NEWLINE":
            continue
        first = previous is None or tokens[i - 1].type == "NEWLINE"
        begins = False
        known = token.type == "NAME" and token.value in ITEMS
        if first:
            at_margin = not token.start_pos or text[token.start_pos - 1] == "\n"
            names = i + 1 < len(tokens) and tokens[i + 1].type in ("NAME", "STRING")
            if known:
                begins = depth == 0 or (at_margin and names)
            elif depth == 0 and at_margin and not _goes_on(previous, token):
                begins = not starts or starts[-1][1] or opened
        begins = begins or not starts
        if begins:
            starts.append((i, known))
            depth, opened = 0, False
        if token.type in _OPENERS:
            depth, opened = depth + 1, True
        elif token.type in _CLOSERS:
            depth = max(0, depth - 1)
        previous = token
    chunks = []
    for number, (start, known) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(tokens)
        following = tokens[end] if end < len(tokens) else None
        while tokens[end - 1].type == "NEWLINE":
            end -= 1
        chunks.append(Chunk(tokens[start:end], known, following))
    return tuple(chunks)


def _goes_on(previous: Token | None, token: Token) -> bool:
    if token.type in _OPENERS or token.type in _CLOSERS:
        return True
    return previous is not None and (previous.value in INFIX_AFTER or token.value in INFIX_BEFORE)
