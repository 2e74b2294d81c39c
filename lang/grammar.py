"""The grammar and its tables, built once per process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark
from lark.lexer import Lexer, Token
from lark.parsers.lalr_interactive_parser import InteractiveParser

START_ITEM = "item"
START_EXPRESSION = "expression_only"


class _NoLexer(Lexer):
    """Lark's lexer is not used: `scanner.py` makes the tokens and `parser.py` feeds them."""

    def __init__(self, _configuration: Any) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Token]:
        return iter(())


@dataclass(frozen=True)
class Grammar:
    """`keywords` and `signs` map a text to its terminal; `pattern` matches one token."""

    lark: Lark
    keywords: dict[str, str]
    signs: dict[str, str]
    texts: dict[str, str]
    pattern: re.Pattern[str]

    def interactive(self, start: str) -> InteractiveParser:
        """A parser that waits for its first token."""
        return self.lark.parse_interactive("", start)


@cache
def grammar() -> Grammar:
    """The grammar of `grammar.lark`, checked by Lark's strict mode (no conflict is resolved silently)."""
    text = files(__package__).joinpath("grammar.lark").read_text("utf-8")
    lark = Lark(
        text,
        parser="lalr",
        lexer=_NoLexer,
        strict=True,
        start=[START_ITEM, START_EXPRESSION],
        propagate_positions=True,
        maybe_placeholders=True,
    )
    fixed = {t.pattern.value: t.name for t in lark.terminals if t.pattern.type == "str"}
    keywords = {text: name for text, name in fixed.items() if text.isalpha()}
    signs = {text: name for text, name in fixed.items() if not text.isalpha()}
    shapes = {t.name: t.pattern.value for t in lark.terminals if t.pattern.type == "re"}
    parts = [f"(?P<{name}>{shapes[name]})" for name in ("SPACE", "COMMENT", "NEWLINE", "NUMBER", "NAME", "STRING")]
    parts.append(f"(?P<SIGN>{'|'.join(re.escape(s) for s in sorted(signs, key=len, reverse=True))})")
    texts = {name: text for text, name in fixed.items()}
    return Grammar(lark, keywords, signs, texts, re.compile("|".join(parts)))
