"""The tokens and comments of a whole text, and what in it is no token."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lark.lexer import Token

from . import errors
from .characters import advice_for, described
from .diagnostics import Diagnostic
from .grammar import grammar
from .source import Source, Span

MAX_DIGITS = 30
"""Integers have at most this many digits: more than any size, fewer than Python takes long to print."""

MAX_PROBLEMS = 200
"""After this many problems the rest of a text is taken as it is: it is no Weft."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f\x85\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_WORD = re.compile(r"\w+")
_QUOTED = re.compile("[“”„«»‘’'][^“”„«»‘’'\n]*[“”„«»‘’']")
_ESCAPE = re.compile(r'\\[^nt"\\]')


@dataclass(frozen=True)
class Comment:
    """A comment from its `#` to the end of its line; `alone` when nothing stands before it."""

    span: Span
    alone: bool

    @property
    def text(self) -> str:
        return self.span.text.rstrip()


@dataclass(frozen=True)
class Problem:
    """Something that is no token, and where it begins."""

    offset: int
    diagnostic: Diagnostic


@dataclass(frozen=True)
class Scan:
    """`tokens` hold every NEWLINE of the text; comments and spaces are not among them."""

    tokens: tuple[Token, ...]
    comments: tuple[Comment, ...]
    problems: tuple[Problem, ...]


def scan(source: Source) -> Scan:
    """Cuts the text into tokens in one pass, linear in its length."""
    table = grammar()
    text = source.text
    tokens: list[Token] = []
    comments: list[Comment] = []
    problems: list[Problem] = []
    position = 1 if text.startswith("\ufeff") else 0  # a byte order mark is no text
    alone = True

    def report(diagnostic: Diagnostic) -> None:
        assert diagnostic.primary is not None
        problems.append(Problem(diagnostic.primary.span.start, diagnostic))

    while position < len(text):
        match = table.pattern.match(text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None or _glued(text, match.end(), kind):
            end = _stray_end(text, position)
            span = Span(source, position, end)
            if len(problems) < MAX_PROBLEMS:
                report(_stray(span, tokens))
            tokens.append(Token("UNKNOWN", span.text, position, end_pos=end))
            position, alone = end, False
            continue
        end, value = match.end(), match.group()
        if kind == "COMMENT":
            comments.append(Comment(Span(source, position, end), alone))
        elif kind == "NEWLINE":
            tokens.append(Token("NEWLINE", value, position, end_pos=end))
            alone = True
        elif kind != "SPACE":
            name = table.signs[value] if kind == "SIGN" else kind
            tokens.append(Token(name, value, position, end_pos=end))
            alone = False
            problem = _checked(Span(source, position, end), name, tokens)
            if problem is not None:
                report(problem)
        position = end
    for hidden in _HIDDEN.finditer(text):
        span = Span(source, hidden.start(), hidden.end())
        if not any(p.offset == span.start for p in problems):
            report(errors.unknown_character(span, described(hidden.group()), ("remove this invisible character",), ""))
        if len(problems) >= MAX_PROBLEMS:
            break
    return Scan(tuple(tokens), tuple(comments), tuple(sorted(problems, key=lambda p: p.offset)))


def _glued(text: str, end: int, kind: str) -> bool:
    """True when a word or number runs on into characters that no name may have (`naïve`, `12abc`)."""
    return kind in ("NAME", "NUMBER") and end < len(text) and _WORD.match(text[end]) is not None


def _stray_end(text: str, position: int) -> int:
    if text[position] == '"':
        end = text.find("\n", position)
        return len(text) if end < 0 else end
    if text.startswith(("&&", "||"), position):
        return position + 2
    quoted = _QUOTED.match(text, position)
    if quoted is not None:
        return quoted.end()
    word = _WORD.match(text, position)
    return word.end() if word else position + 1


def _stray(span: Span, tokens: list[Token]) -> Diagnostic:
    shown = span.text
    if shown[0] == '"':
        return errors.unfinished_string(span)
    if shown.isascii() and shown[0].isdigit():
        return errors.malformed_number(
            span, "letters follow the digits", "put a space between a number and its unit or name"
        )
    odd = next((c for c in shown if not c.isascii()), shown[0])
    at = span.start + shown.index(odd)
    advice, replacement = advice_for(odd if not shown.isascii() else shown)
    if _QUOTED.fullmatch(shown):
        return errors.unknown_character(span, described(odd), advice, f'"{shown[1:-1]}"')
    if len(shown) > 1 and not shown.isascii():
        advice = (*advice, "names are made of the letters a-z and A-Z, digits and `_`")
    return errors.unknown_character(
        Span(span.source, at, at + 1) if not shown.isascii() else span,
        described(odd) if not shown.isascii() else f"`{shown}`",
        advice,
        replacement,
    )


def _checked(span: Span, name: str, tokens: list[Token]) -> Diagnostic | None:
    """The problem with a token that has the right shape but not a value."""
    text = span.text
    if name == "STRING":
        bad = _ESCAPE.search(text.replace("\\\\", "  "))
        if bad is not None:
            return errors.unknown_escape(Span(span.source, span.start + bad.start(), span.start + bad.end()))
    if name == "NUMBER":
        before = tokens[-2] if len(tokens) > 1 else None
        if (
            before is not None
            and before.type == "DOT"
            and before.end_pos == span.start
            and before.start_pos is not None
        ):
            owner = tokens[-3] if len(tokens) > 2 else None
            if owner is None or owner.end_pos != before.start_pos:
                whole = Span(span.source, before.start_pos, span.end)
                return errors.malformed_number(whole, "no digit before the point", f"write `0{whole.text}`")
        if "__" in text or "_." in text or "_e" in text.lower() or "._" in text or text.endswith("_"):
            return errors.malformed_number(span, "`_` stands between digits only", "for example `128_256`")
        if text.replace("_", "").isdigit():
            if len(text.replace("_", "")) > MAX_DIGITS:
                return errors.malformed_number(
                    span, f"more than {MAX_DIGITS} digits", "a size or count this large cannot be meant"
                )
        elif float(text.replace("_", "")) == float("inf"):
            return errors.malformed_number(span, "larger than any real number (1.8e308)", "write a smaller exponent")
    return None
