"""A quantized matrix: codes and scales, and the values they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import half, nf4
from .scheme import NF4, Grid, Grouped, Half, Scheme

Array = NDArray[Any]
Float = NDArray[np.float32]
Codes = NDArray[np.uint8] | NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Quantized:
    """A matrix [K, N] (K contracted, N outputs) in a scheme.

    `codes` [K, N]: uint8 for groups and NF4, int8 per column, float16 or (bfloat16 as its bits) uint16 for halves.
    `scales` float32 [blocks, N], [N] per column, None for halves. `zeros` uint8 [blocks, N] when asymmetric.
    `double`: how `scales` are stored when they are quantized themselves; `scales` then holds what comes back.
    """

    scheme: Scheme
    codes: Array
    scales: Float | None
    zeros: NDArray[np.uint8] | None = None
    double: nf4.Double | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def bytes(self) -> int:
        """Stored size, of codes and everything that belongs to them."""
        return self.scheme.bytes(*self.shape)


def encode(values: Float, scales: Float, zeros: Array | None, scheme: Grid) -> Codes:
    """The codes nearest to `values`; scales (zero where all values are) and zeros broadcast against them."""
    ratio: Array = values / np.where(scales == 0, np.float32(1), scales)
    if isinstance(scheme, NF4):
        return nf4.nearest(ratio)
    np.rint(ratio, out=ratio)
    if isinstance(scheme, Grouped):
        ratio += scheme.middle if zeros is None else zeros
        return np.clip(ratio, 0, scheme.highest, out=ratio).astype(np.uint8)
    return np.clip(ratio, -scheme.highest, scheme.highest, out=ratio).astype(np.int8)


def centred(codes: Array, zeros: Array | None, scheme: Grid, dtype: Any = np.float32) -> Array:
    """What the codes are before the scale: levels from -1 to 1 of NF4, else whole numbers around zero."""
    if isinstance(scheme, NF4):
        return nf4.LEVELS.astype(dtype)[codes]
    values = codes.astype(dtype)
    if isinstance(scheme, Grouped):
        values -= scheme.middle if zeros is None else zeros
    return values


def decode(codes: Array, scales: Array, zeros: Array | None, scheme: Grid, dtype: Any = np.float32) -> Array:
    """The values of codes; scales and zeros broadcast against them."""
    values = centred(codes, zeros, scheme, dtype)
    values *= scales.astype(dtype)
    return values


def dequantized(quantized: Quantized, dtype: Any = np.float32, columns: slice = slice(None)) -> Array:
    """The matrix [K, N] that a quantized one stands for (or some of its columns), in float32 or float64."""
    scheme, codes = quantized.scheme, quantized.codes[:, columns]
    if isinstance(scheme, Half):
        return half.restored(codes, scheme.kind).astype(dtype, copy=False)
    assert quantized.scales is not None
    values = np.empty(codes.shape, dtype)
    for block, rows in scheme.rows(len(codes)):  # a group at a time: little memory besides the result
        zero = None if quantized.zeros is None else quantized.zeros[block, columns]
        values[rows] = decode(codes[rows], np.atleast_2d(quantized.scales)[block, columns], zero, scheme, dtype)
    return values
