"""A starter under the name of a file that is there."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.would_overwrite("tiny.llm"))
