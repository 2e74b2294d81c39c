"""A file without a model of its own."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.nothing_there("model", "notes.llm"))
