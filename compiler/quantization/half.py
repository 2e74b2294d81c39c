"""Rounding to 16-bit floats, to nearest and ties to even; what does not fit is an error, never cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lang import errors
from ...lang.diagnostics import WeftError

Array = NDArray[Any]

_ROWS = 256


def rounded(weight: Array, kind: str, what: str = "a weight") -> Array:
    """A float32 array as float16, or as the bits of bfloat16 (uint16); raises WeftError where it is not finite then."""
    codes = np.empty(weight.shape, np.float16 if kind == "float16" else np.uint16)
    lost = 0
    for start in range(0, len(weight), _ROWS):  # some rows at a time: little memory besides the result
        rows = slice(start, start + _ROWS)
        codes[rows] = _rounded(np.ascontiguousarray(weight[rows], np.float32), kind)
        lost += codes[rows].size - int(np.isfinite(restored(codes[rows], kind)).sum())
    if lost:
        raise WeftError(errors.too_large_for(what, kind, lost, float(np.abs(weight).max())))
    return codes


def _rounded(weight: NDArray[np.float32], kind: str) -> Array:
    if kind == "float16":
        with np.errstate(over="ignore"):  # counted by the caller
            return weight.astype(np.float16)
    bits = weight.view(np.uint32)
    odd = (bits >> 16) & np.uint32(1)
    return ((bits + (np.uint32(0x7FFF) + odd)) >> 16).astype(np.uint16)


def restored(codes: Array, kind: str) -> NDArray[np.float32]:
    """The float32 values of what `rounded` gives."""
    if kind == "float16":
        return codes.astype(np.float32)
    return (codes.astype(np.uint32) << 16).view(np.float32)
