"""Errors of the data that a run reads (E094x, E095x)."""

from __future__ import annotations

from ..diagnostics import Diagnostic
from ..source import Span
from .base import code, finding


@code("E0941", "no data")
def no_data(pattern: str, folder: str, span: Span | None = None) -> Diagnostic:
    return finding(
        f"no file matches `{pattern}`",
        span,
        "matches nothing",
        notes=(f"patterns are relative to the folder of the spec: {folder}",),
        help=("check the path; `**` stands for any number of folders",),
    )


@code("E0942", "too little data")
def too_little_data(what: str, found: int, needed: int, span: Span | None = None) -> Diagnostic:
    return finding(
        f"the {what} has {found:,} tokens; one row needs {needed:,}",
        span,
        "too little text",
        help=("add text, shorten the rows (`pack(..)`), or change the share of `validation`",),
    )


@code("E0951", "damaged data")
def damaged_data(folder: str, reason: str) -> Diagnostic:
    return finding(
        f"the tokens in `{folder}` are damaged: {reason}",
        help=("remove that folder: it is made again from the sources",),
    )


@code("E0954", "unreadable record")
def bad_record(path: str, line: int, expected: str) -> Diagnostic:
    return finding(
        f"line {line:,} of `{path}` is not {expected}", help=("every line of a .jsonl file is one JSON object",)
    )
