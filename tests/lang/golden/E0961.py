"""A process that is ended from outside while it runs a model."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.bench_failed(-9, "loading\n"))
