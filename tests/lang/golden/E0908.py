"""A run below something that is a file."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.system_refused("runs/tiny", "Not a directory"))
