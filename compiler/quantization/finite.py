"""Refusing numbers that no scale can cover."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lang import errors
from ...lang.diagnostics import WeftError


def spelled(name: str, otherwise: str = "a weight") -> str:
    """What a message calls a matrix: its path, when that is known."""
    return f"`{name}`" if name else otherwise


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raises WeftError, with their number, where values are infinite or not a number."""
    with np.errstate(invalid="ignore"):
        # a sum is finite only if all its terms are (float32 cannot overflow float64), and needs no second array
        total = np.sum(values, dtype=np.float64)
    if not np.isfinite(total):
        raise WeftError(errors.not_finite(what, int(values.size - np.isfinite(values).sum())))
