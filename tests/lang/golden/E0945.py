"""A loss that is not a number."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.loss_not_finite(120, float("nan"), "run/tiny/pretrain"))
