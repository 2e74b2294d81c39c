"""The one style of a `.llm` file, checked on every run."""

from __future__ import annotations

from . import errors, tree
from .diagnostics import WeftError
from .documents import lay_out
from .item_printer import ItemPrinter
from .margin import Margin
from .parser import parse
from .scanner import scan
from .source import Source, Span

_SETTLING = 4
"""Formatting again changes nothing more after at most so many times."""


def format_source(source: Source) -> str:
    """The text of `source` in the one style: same meaning, every comment kept.

    Raises WeftError with the syntax errors of a text that does not parse, and with an internal error
    when the result would not parse to the same tree, lost a comment, or would change when formatted again.
    """
    file = _parsed(source)
    text = _formatted(source, file)
    for _ in range(_SETTLING):  # a value that goes over several lines now no longer has its `=` in one column
        between = Source(source.path, text)
        reread, problems = parse(between)
        settled = text if problems else _formatted(between, reread)
        if settled == text:
            break
        text = settled
    again = Source(source.path, text)
    whole = Span(source, 0, 1)
    reread, problems = parse(again)
    if problems:
        raise WeftError(errors.formatter_failed(whole, f"the formatted text does not parse ({problems[0].title})"))
    for before, after in zip(file.items, reread.items, strict=False):
        if before != after or before.doc != after.doc:
            raise WeftError(errors.formatter_failed(before.span, "formatting would change the meaning of this item"))
    if len(file.items) != len(reread.items):
        raise WeftError(errors.formatter_failed(whole, "formatting would lose an item"))
    if _comments(source) != _comments(again):
        raise WeftError(errors.formatter_failed(whole, "formatting would lose a comment"))
    if _formatted(again, reread) != text:
        raise WeftError(errors.formatter_failed(whole, "formatting twice would give another text"))
    return text


def _parsed(source: Source) -> tree.File:
    file, problems = parse(source)
    if problems:
        raise WeftError(*problems)
    return file


def _comments(source: Source) -> list[str]:
    return sorted(c.text for c in scan(source).comments)


def _formatted(source: Source, file: tree.File) -> str:
    margin = Margin(source, scan(source))
    printer = ItemPrinter(margin)
    document = margin.lines(file.items, printer.item, 0, len(source.text) + 1, apart=True)
    text = lay_out(document).strip("\n")
    return text + "\n" if text else ""
