"""The levels of 4-bit NormalFloat, and scales that are quantized themselves.

Dettmers, Pagnoni, Holtzman and Zettlemoyer 2023, "QLoRA: Efficient Finetuning of Quantized LLMs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""Scales that share one scale of their own (section 3, "Double Quantization")."""

LEVELS = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    np.float32,
)  # fmt: skip
"""Appendix E: quantiles of a normal distribution, an exact zero, scaled to [-1, 1]."""

_BORDERS = (LEVELS[1:] + LEVELS[:-1]) / 2


@dataclass(frozen=True, eq=False)
class Double:
    """Scales in 8 bits: `codes * steps + mean`, with one step per 256 consecutive scales in the order [N, blocks].

    The paper leaves the 8-bit type open and bitsandbytes takes one with uneven levels; here they are even (int8), so
    that two plain operators restore them.
    """

    codes: NDArray[np.int8]
    """[N, blocks]"""
    steps: NDArray[np.float32]
    """[number of scales / 256, rounded up]"""
    mean: np.float32

    @property
    def scales(self) -> NDArray[np.float32]:
        """What comes back, float32 [blocks, N]."""
        steps = np.repeat(self.steps, BLOCK)[: self.codes.size].reshape(self.codes.shape)
        return np.ascontiguousarray((self.codes * steps + self.mean).T)


def nearest(ratio: NDArray[Any]) -> NDArray[np.uint8]:
    """The codes of the levels nearest to values that were divided by their group's scale."""
    codes = np.zeros(ratio.shape, np.uint8)
    for border in _BORDERS:  # eight times faster than a search for each value
        codes += ratio > border
    return codes


def doubly(scales: NDArray[np.float32]) -> Double:
    """Quantizes scales [blocks, N] to 8 bits around their mean."""
    flat = np.ascontiguousarray(scales.T).ravel()
    mean = np.float32(flat.mean(dtype=np.float64))
    padded = np.zeros(-(-flat.size // BLOCK) * BLOCK, np.float32)
    padded[: flat.size] = flat - mean
    rows = padded.reshape(-1, BLOCK)
    steps = (np.abs(rows).max(axis=1) / np.float32(127)).astype(np.float32)
    codes = np.rint(rows / np.where(steps == 0, np.float32(1), steps)[:, None]).astype(np.int8)
    return Double(codes.ravel()[: flat.size].reshape(scales.T.shape), steps, mean)
