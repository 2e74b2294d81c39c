"""Activation-aware scaling: rows of the weight that meet large inputs are enlarged before they are rounded.

Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan and Han 2024, "AWQ: Activation-aware Weight Quantization for
On-Device LLM Compression and Acceleration", section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .codes import Array, Float, dequantized
from .nearest import quantize
from .scheme import Grid

_SMALLEST = 1e-4


def awq_scales(
    weights: Sequence[Array],
    magnitude: Array,
    inputs: Array,
    scheme: Grid,
    *,
    grid: int = 20,
    columns: int = 1024,
    search: bool = False,
) -> Float:
    """The scales s [K] that make round(s W) / s closest to W on a sample of inputs.

    `weights`: all matrices [K, N] that share the input; `magnitude` [K]: mean of |x|; `inputs` [M, K]: a sample of x.
    Tried are s = magnitude^a, a = 0, 1/grid, 2/grid, ... (equations 4 and 5), so that the error on the sample is never
    larger than that of plain rounding (a = 0: all ones). At most `columns` evenly spaced columns of each matrix are
    looked at; `search` is that of `quantize`. To be used as s[:, None] * W, with the input divided by s: in the scale
    of a norm before it, in the columns of a linear map before it, or by a division.
    """
    looked_at = [np.asarray(w[:, :: -(-w.shape[1] // columns)], np.float32) for w in weights]
    inputs = np.asarray(inputs, np.float32)
    exact = [inputs @ w for w in looked_at]
    best, least = np.ones(len(magnitude), np.float32), np.inf
    for step in range(grid):
        scale = _power(magnitude, step / grid)
        error = 0.0
        for weight, wanted in zip(looked_at, exact, strict=True):
            kept = dequantized(quantize(scale[:, None] * weight, scheme, search=search))
            error += float(np.sum(np.square((inputs / scale) @ kept - wanted), dtype=np.float64))
        if error < least:
            best, least = scale, error
    return best


def _power(magnitude: Array, exponent: float) -> Float:
    """Powers of magnitudes, the geometric mean of the largest and the smallest made 1."""
    scale = np.maximum(np.asarray(magnitude, np.float64), _SMALLEST) ** exponent
    return (scale / np.sqrt(scale.max() * scale.min())).astype(np.float32)
