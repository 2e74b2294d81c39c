"""A value that no key says."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span

MAP = Source("tiny.llm", 'D = 2 * half')


def trigger() -> None:
    raise WeftError(errors.unwritable_config("D", "`2 * half` is not `7` for any keys", Span(MAP, 0, 12)))
