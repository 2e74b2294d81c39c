"""Errors of names, modules and the files they come from (E02xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Label
from ..source import Span
from .base import code, did_you_mean, finding


@code("E0201", "unknown name")
def unknown_name(name: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(f"nothing here is called `{name}`", span, "unknown name", help=did_you_mean(name, candidates))


@code("E0202", "name declared twice")
def duplicate_name(name: str, span: Span, first: Span, help: str = "give one of them another name") -> Diagnostic:
    return finding(
        f"`{name}` is declared twice",
        span,
        "declared again here",
        labels=(Label(first, "first declared here"),),
        help=(help,),
    )


@code("E0203", "unknown module")
def no_such_module(name: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"there is no file for `use {name}`", span, "not beside this file and not in the standard library",
        help=did_you_mean(name, known) or _library(known),
    )


def _library(known: Sequence[str]) -> tuple[str, ...]:
    """The files of the standard library; models are many and only counted."""
    models = [n for n in known if n.startswith("models.")]
    rest = ", ".join(n for n in known if n not in models)
    return (f"the standard library has: {rest}, and {len(models)} files `models.*`",)


@code("E0204", "name not in module")
def not_in_module(name: str, module: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{module}` declares no `{name}`", span, "asked for here",
        help=did_you_mean(name, known) or (f"it declares: {', '.join(known)}",),
    )


@code("E0205", "wrong kind of thing")
def wrong_kind(what: str, wanted: str, span: Span, help: Sequence[str] = ()) -> Diagnostic:
    """`what` and `wanted` in words, with their article: "an instance", "the number 3"."""
    return finding(f"expected {wanted}, found {what}", span, f"this is {what}", help=help)


@code("E0206", "no such part")
def no_such_part(name: str, owner: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"{owner} has no `{name}`", span, "no such part",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0207", "no such model or recipe")
def no_such_item(kind: str, name: str, path: str, candidates: Sequence[str]) -> Diagnostic:
    return finding(
        f"`{path}` has no {kind} `{name}`",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0208", "module found twice")
def module_twice(name: str, path: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` means two files: `{path}` and one of the standard library", span, "which of them?",
        help=(f"rename `{path}`",),
    )


@code("E0209", "unreadable file")
def unreadable(path: str, reason: str) -> Diagnostic:
    return finding(f"cannot read `{path}`: {reason}", help=("give the path of a `.llm` file",))


@code("E0210", "not UTF-8")
def not_utf8(path: str, offset: int) -> Diagnostic:
    return finding(f"`{path}` is not UTF-8 text (byte {offset})", help=("a `.llm` file is UTF-8 text",))
