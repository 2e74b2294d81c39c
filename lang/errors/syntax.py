"""Errors of the text of a file (E01xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Fix, Label
from ..source import Span
from .base import code, did_you_mean, finding, one_of, shorten


@code("E0101", "unknown character")
def unknown_character(span: Span, shown: str, advice: Sequence[str], replacement: str | None) -> Diagnostic:
    """`shown` names the character in words; `replacement` is what was probably meant."""
    fixes = () if replacement is None else (Fix(span, replacement),)
    return finding(f"{shown} has no meaning in Weft", span, "not part of the language", help=advice, fixes=fixes)


@code("E0102", "string without an end")
def unfinished_string(span: Span) -> Diagnostic:
    return finding(
        "this string has no closing `\"`",
        span,
        "the line ends inside the string",
        help=("a string begins and ends with `\"` on one line; write `\\n` for a line break",),
    )


@code("E0103", "malformed number")
def malformed_number(span: Span, reason: str, advice: str) -> Diagnostic:
    return finding(f"`{shorten(span.text)}` is not a number", span, reason, help=(advice,))


@code("E0104", "unknown escape in a string")
def unknown_escape(span: Span) -> Diagnostic:
    return finding(
        f"`{span.text}` is not an escape",
        span,
        "unknown after `\\`",
        help=(r'the escapes are `\n`, `\t`, `\"` and `\\`; paths are written with `/`',),
    )


@code("E0105", "unexpected text")
def unexpected(span: Span, found: str, expected: str, label: str, advice: Sequence[str] = ()) -> Diagnostic:
    """`found` and `expected` are words a user knows: "`}`", "a name"."""
    return finding(f"expected {expected}, found {found}", span, label, help=advice)


@code("E0106", "bracket that is never closed")
def unclosed_bracket(opened: Span, missing_at: Span, opener: str, closer: str, found: str) -> Diagnostic:
    return finding(
        f"`{opener}` is never closed",
        missing_at,
        f"expected `{closer}` before {found}",
        labels=(Label(opened, f"`{opener}` opened here"),),
    )


@code("E0107", "bracket that closes nothing")
def unopened_bracket(span: Span, closed_before: Span | None) -> Diagnostic:
    labels = () if closed_before is None else (Label(closed_before, "everything open was closed here"),)
    return finding(
        f"`{span.text}` closes nothing",
        span,
        "no bracket is open here",
        labels=labels,
        help=(f"remove this `{span.text}`, or the one that closes too early",),
    )


@code("E0108", "reserved word used as a name")
def reserved_word(span: Span, use: str) -> Diagnostic:
    return finding(
        f"`{span.text}` is a word of the language and cannot be a name",
        span,
        f"{use} expected here",
        help=(f"choose another name, such as `{span.text}_` or a word that says what it is for",),
    )


@code("E0109", "name that cannot be used")
def forbidden_name(span: Span, reason: str, advice: Sequence[str]) -> Diagnostic:
    return finding(f"`{shorten(span.text)}` cannot be a name", span, reason, help=advice)


@code("E0110", "nested too deeply")
def too_deep(span: Span, what: str, limit: int) -> Diagnostic:
    return finding(
        f"{what} nested more than {limit} deep",
        span,
        f"level {limit + 1} begins here",
        help=("give parts of it names on lines of their own",),
    )


@code("E0111", "file too large")
def file_too_large(span: Span, size: int, limit: int) -> Diagnostic:
    return finding(
        f"the file has {size:,} characters; at most {limit:,} are read",
        span,
        "",
        help=("split it into several files and join them with `use`",),
    )


@code("E0112", "text outside of an item")
def not_an_item(span: Span, shown: str, keywords: Sequence[str], advice: Sequence[str] = ()) -> Diagnostic:
    return finding(
        f"{shown} does not begin an item",
        span,
        "expected an item here",
        help=(
            *(advice or did_you_mean(span.text, keywords)),
            f"a file is a list of items; each begins with {one_of(keywords)}",
        ),
    )


@code("E0113", "`=`, `:` and `==` confused")
def wrong_sign(span: Span, expected: str, why: str) -> Diagnostic:
    return finding(
        f"expected `{expected}`, found `{span.text}`",
        span,
        f"write `{expected}`",
        help=(why,),
        fixes=(Fix(span, expected),),
    )


@code("E0114", "`if` without `else`")
def missing_else(span: Span, begins: Span) -> Diagnostic:
    return finding(
        "this `if` has no `else`",
        span,
        "expected `else` here",
        labels=(Label(begins, "the `if` begins here"),),
        help=("`if` is a value: both sides must give one, as in `if tied { a } else { b }`",),
    )


@code("E0115", "body without a value")
def body_without_value(span: Span, label: str, advice: str) -> Diagnostic:
    return finding("this body has no value", span, label, help=(advice,))


@code("E0116", "value that is not used")
def unused_value(span: Span, advice: Sequence[str]) -> Diagnostic:
    return finding(
        "this value is not used",
        span,
        "only the last line of a body may be a value",
        help=advice,
    )


@code("E0117", "`->` or `where` outside of a call")
def only_in_arguments(span: Span, example: str) -> Diagnostic:
    return finding(
        f"`{span.text}` stands only inside the arguments of a call",
        span,
        "not inside a call's arguments",
        help=(f"for example `{example}`",),
    )


@code("E0118", "unknown unit")
def unknown_unit(span: Span, units: Sequence[str]) -> Diagnostic:
    return finding(
        f"`{shorten(span.text)}` is not a unit",
        span,
        "a unit or an operator expected after the number",
        help=(*did_you_mean(span.text, units), f"the units are {one_of(units, 'and')}"),
    )


@code("E0119", "`next` or `yield` outside of a scan")
def only_in_scan(span: Span, word: str) -> Diagnostic:
    return finding(
        f"`{word}` stands only in the body of a `scan`",
        span,
        "not directly inside a scan",
        help=("a scan's body has one step of a recurrence: `next s = ..` and `yield ..`, each on a line of its own",),
    )


@code("E0120", "chained comparison")
def chained_comparison(span: Span, first: Span) -> Diagnostic:
    return finding(
        "comparisons do not chain",
        span,
        "second comparison",
        labels=(Label(first, "first comparison"),),
        help=("join two comparisons with `and`: `a <= b and b < c`",),
    )
