"""A draft with a vocabulary of its own."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.draft_misfit(32_000, 50_257))
