"""A formatter that would lose a comment."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span


def trigger() -> None:
    source = Source("model.llm", "fn one() { 1 }  # a comment\n")
    raise WeftError(errors.formatter_failed(Span(source, 0, 14), "formatting would lose a comment"))
