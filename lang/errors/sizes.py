"""Errors of sizes and limits (E04xx)."""

from __future__ import annotations

from ..diagnostics import Diagnostic
from ..source import Span
from .base import code, finding


@code("E0401", "division is not exact")
def inexact_division(expression: str, values: str, span: Span) -> Diagnostic:
    return finding(
        f"`{expression}` does not come out whole{': ' if values else ''}{values}", span, "not a whole number",
        help=("sizes are whole numbers; change one of them, or write a real number (`2.0`) for a real quotient",),
    )


@code("E0402", "requirement not met")
def requirement_failed(text: str, values: str, span: Span) -> Diagnostic:
    return finding(f"`require {text}` does not hold: {values}", span, "this is false")


@code("E0403", "too large")
def too_large(what: str, limit: str, span: Span | None) -> Diagnostic:
    return finding(f"{what} is too large", span, "above the limit", notes=(f"the limit is {limit}",))


@code("E0404", "too much to elaborate")
def too_much_work(span: Span | None) -> Diagnostic:
    return finding(
        "this program unfolds into too much to compile", span, "given up while elaborating this",
        help=("layers that do not mention the index of their `repeat` are elaborated once, whatever their number",),
    )


@code("E0405", "a size must be positive")
def not_positive(what: str, value: str, span: Span) -> Diagnostic:
    return finding(f"{what} is {value}; it must be a whole number of at least 1", span, "not a size")


@code("E0406", "no such entry")
def no_such_entry(what: str, place: int, count: int, span: Span) -> Diagnostic:
    help = f"entries count from 0: the last one is {count - 1}" if count else "the list is empty"
    entries = "1 entry" if count == 1 else f"{count} entries"
    return finding(f"`{what}` has {entries}; there is no entry {place}", span, f"this is {place}", help=(help,))
