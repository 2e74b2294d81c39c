"""SmoothQuant: the range of inputs is moved into the weights until both are as hard to quantize.

Xiao, Lin, Seznec, Wu, Demouth and Han 2023, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models", section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .codes import Array, Float


def smooth_scales(largest: Array, weights: Sequence[Array], alpha: float = 0.5) -> Float:
    """The scales s [K] = max|x|^alpha / max|W|^(1 - alpha) (equation 4); 1 where the input or the weights are zero.

    `largest` [K]: max of |x|; `weights`: all matrices [K, N] that share the input. To be used as x / s and
    s[:, None] * W. `alpha` is how much of the difficulty the weights take: 0.5 for most models, more (0.75) for those
    with stronger outliers.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is a share between 0 and 1, not {alpha}")
    inputs = np.asarray(largest, np.float64)
    rows = np.max([np.maximum(w.max(axis=1), -w.min(axis=1)) for w in weights], axis=0).astype(np.float64)
    usable = (inputs > 0) & (rows > 0)
    scale = np.where(usable, inputs, 1) ** alpha / np.where(usable, rows, 1) ** (1 - alpha)
    return scale.astype(np.float32)
