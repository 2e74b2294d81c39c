"""A file far larger than any program."""

from weft.lang.diagnostics import WeftError
from weft.lang.parser import MAX_CHARACTERS, parse
from weft.lang.source import Source


def trigger() -> None:
    _, problems = parse(Source("large.llm", "# one\n" * (MAX_CHARACTERS // 6 + 1)))
    raise WeftError(*problems)
