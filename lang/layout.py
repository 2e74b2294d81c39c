"""Brackets that match, and the line ends that end a statement."""

from __future__ import annotations

from lark.lexer import Token

from . import errors
from .diagnostics import Diagnostic
from .items import Chunk
from .source import Source, Span
from .words import INFIX_AFTER, INFIX_BEFORE

MAX_BRACKETS = 100
"""Brackets may stand at most this deep inside each other."""

_CLOSER = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}
_OPENER = {"RPAR": "LPAR", "RSQB": "LSQB", "RBRACE": "LBRACE"}

_BRACED = frozenset(("if", "else", "repeat", "scan", "with"))


def lay_out(chunk: Chunk, source: Source) -> tuple[Token, ...] | Diagnostic:
    """The chunk's tokens with `_NL` where a line end ends a statement, or what is wrong with its brackets."""
    stack: list[Token] = []
    suspect: Token | None = None
    emptied: Token | None = None
    kept: list[Token] = []
    newline: Token | None = None
    tokens = chunk.tokens
    for i, token in enumerate(tokens):
        if token.type == "NEWLINE":
            newline = token if newline is None else newline
            continue
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if newline is not None and _ends_statement(kept, token, following, stack):
            kept.append(Token("_NL", "\n", newline.start_pos, end_pos=newline.end_pos))
        if token.type in _CLOSER:
            if token.type == "LBRACE" and stack and stack[-1].type != "LBRACE" and _opens_a_head(kept, stack):
                return _unclosed(stack[-1], _span(source, token), "`{`", source)
            stack.append(token)
            if len(stack) > MAX_BRACKETS:
                return errors.too_deep(_span(source, token), "brackets", MAX_BRACKETS)
        elif token.type in _OPENER:
            if not stack:
                return errors.unopened_bracket(_span(source, token), _span(source, emptied) if emptied else None)
            if stack[-1].type != _OPENER[token.type]:
                # `f(a, b }`: the bracket that is open is the one without its partner.
                return _unclosed(stack[-1], _span(source, token), f"`{token.value}`", source)
            opener = stack.pop()
            if newline is not None and suspect is None and _indent(source, token) < _indent(source, opener):
                suspect = opener
            if not stack:
                emptied = token
        newline = None
        kept.append(token)
    if stack:
        # A `}` further left than the line of its `{` closed what was meant for an outer one.
        opener = suspect if suspect is not None else stack[-1]
        last = kept[-1]
        after = Span(source, last.end_pos or 0, (last.end_pos or 0) + 1)
        found = f"`{chunk.following.value}`" if chunk.following is not None else "the end of the file"
        return _unclosed(opener, after, found, source)
    return tuple(kept)


def _opens_a_head(kept: list[Token], stack: list[Token]) -> bool:
    """True for the `{` of `block A(D: dim {`: the first bracket of an item is still open, and no `if` or the like."""
    if len(stack) != 1:
        return False
    opened = max(i for i, token in enumerate(kept) if token is stack[0])
    return not any(token.value in _BRACED for token in kept[opened:])


def _unclosed(opener: Token, at: Span, found: str, source: Source) -> Diagnostic:
    return errors.unclosed_bracket(_span(source, opener), at, opener.value, _CLOSER[opener.type], found)


def _ends_statement(kept: list[Token], token: Token, following: Token | None, stack: list[Token]) -> bool:
    """True when the line end between the last kept token and `token` is a terminator."""
    if not kept or kept[-1].type == "LBRACE" or token.type == "RBRACE":
        return False
    if stack and stack[-1].type != "LBRACE":
        return False
    if token.value in INFIX_BEFORE:
        return False
    if kept[-1].type == "EQUAL" and token.type == "STRING":
        return False  # the long name of a stored tensor, on a line of its own
    if token.value in ("on", "except") and not (following and following.type == "EQUAL"):
        return False
    return not _asks_for_more(kept)


def _asks_for_more(kept: list[Token]) -> bool:
    """True when the last token is an infix operator; the `*` of a selector is none."""
    if kept[-1].value not in INFIX_AFTER:
        return False
    return not (kept[-1].type == "STAR" and len(kept) > 1 and kept[-2].value in (".", ",", "on", "except"))


def _span(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)


def _indent(source: Source, token: Token) -> int:
    line = source.line(source.location(token.start_pos or 0)[0])
    return len(line) - len(line.lstrip())
