"""What every constructor of an error is made with: the register of codes, and the words of a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec

from ..diagnostics import Diagnostic, Fix, Label
from ..nearest import nearest
from ..source import Span

P = ParamSpec("P")

CODES: dict[str, str] = {}
"""Code -> short title, one entry per constructor of this package; filled while the package is imported."""

_NAMES: set[str] = set()
"""The names of the constructors so far, which share one namespace."""


def code(number: str, title: str) -> Callable[[Callable[P, Diagnostic]], Callable[P, Diagnostic]]:
    """Registers a constructor under its code and stamps the code on what it returns."""

    def register(constructor: Callable[P, Diagnostic]) -> Callable[P, Diagnostic]:
        assert number not in CODES, f"{number} is used twice"
        assert constructor.__name__ not in _NAMES, f"{constructor.__name__} is defined twice"
        CODES[number] = title
        _NAMES.add(constructor.__name__)

        def stamped(*args: P.args, **kwargs: P.kwargs) -> Diagnostic:
            return replace(constructor(*args, **kwargs), code=number)

        stamped.__name__ = constructor.__name__
        stamped.__doc__ = constructor.__doc__
        return stamped

    return register


def finding(
    title: str,
    span: Span | None = None,
    label: str = "",
    *,
    labels: Sequence[Label] = (),
    notes: Sequence[str] = (),
    help: Sequence[str] = (),
    fixes: Sequence[Fix] = (),
    severity: str = "error",
) -> Diagnostic:
    """A diagnostic that has no code yet; `@code` stamps it."""
    primary = None if span is None else Label(span, label)
    return Diagnostic("", title, primary, tuple(labels), tuple(notes), tuple(help), tuple(fixes), severity)


def did_you_mean(name: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """The help line for a misspelt name, or nothing when no candidate is near."""
    found = nearest(name, candidates)
    return () if found is None else (f"did you mean `{found}`?",)


def one_of(words: Sequence[str], last: str = "or") -> str:
    """"`a`, `b` or `c`"."""
    if not words:
        return "none"
    quoted = [f"`{w}`" for w in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def shorten(text: str, limit: int = 40) -> str:
    """`text`, cut to `limit` characters so that a message stays readable."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
