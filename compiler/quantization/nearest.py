"""Rounding to nearest: scales from the range of each group, or from a search, and the nearest codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import half, nf4
from .codes import Array, Float, Quantized, centred, encode
from .finite import check_finite, spelled
from .scheme import NF4, Grid, Grouped, Half, PerColumn, Scheme

FACTORS = np.linspace(0.65, 1.15, 11).astype(np.float32)
"""What a search multiplies the scale of the full range with: below 1 it cuts off the largest values."""


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales float32 [blocks, N], zeros uint8 [blocks, N] (asymmetric groups only), and how NF4 stores its scales."""

    scales: Float
    zeros: NDArray[np.uint8] | None = None
    double: nf4.Double | None = None


def quantize(
    weight: Array,
    scheme: Scheme,
    *,
    search: bool = False,
    importance: Array | None = None,
    chunk: int = 256,
    name: str = "",
) -> Quantized:
    """The nearest codes of `weight` [K, N] in a scheme, `chunk` columns at a time so that little memory is needed.

    Scales cover the range of each group: the value of largest size becomes the lowest code of symmetric groups (the
    convention of ONNX Runtime and llama.cpp, which uses the full range -8 .. 7); asymmetric ones go from the smallest
    to the largest value, zero included. `search` takes the scale of least squared error among eleven multiples of this
    one and refits it to its codes; `importance` [K] (mean squares of the inputs) weighs the errors of the rows.
    Raises WeftError where a weight is not finite.
    """
    check(weight, name)
    if isinstance(scheme, Half):
        return Quantized(scheme, half.rounded(weight, scheme.kind, spelled(name)), None)
    found = scales(weight, scheme, search=search, importance=importance, chunk=chunk)
    codes = np.empty(weight.shape, np.int8 if isinstance(scheme, PerColumn) else np.uint8)
    for columns, groups in _chunks(weight, scheme, chunk):
        zeros = None if found.zeros is None else found.zeros[:, None, columns]
        part = encode(groups, found.scales[:, None, columns], zeros, scheme)
        codes[:, columns] = part.reshape(-1, part.shape[-1])[: len(codes)]
    return finished(scheme, codes, found)


def finished(scheme: Grid, codes: Array, found: Scales) -> Quantized:
    """Codes and scales as one matrix."""
    kept = found.scales[0] if isinstance(scheme, PerColumn) else found.scales
    return Quantized(scheme, codes, kept, found.zeros, found.double)


def check(weight: Array, name: str) -> None:
    """Raises WeftError where values are not finite, and ValueError where they are no matrix."""
    if weight.ndim != 2:
        raise ValueError(f"{spelled(name)} of shape {weight.shape} is no matrix")
    check_finite(weight, spelled(name))


def scales(
    weight: Array, scheme: Grid, *, search: bool = False, importance: Array | None = None, chunk: int = 256
) -> Scales:
    """The scales that `quantize` rounds with."""
    K, N = weight.shape
    blocks = scheme.blocks(K)
    if importance is not None and not search:
        raise ValueError("`importance` weighs the errors of a search: it needs `search = True`")
    asymmetric = isinstance(scheme, Grouped) and not scheme.symmetric
    found = np.empty((blocks, N), np.float32)
    zeros = np.empty((blocks, N), np.uint8) if asymmetric else None
    weights = None if importance is None else _weights(importance, scheme, K)
    for columns, groups in _chunks(weight, scheme, chunk):
        scale, zero = _range(groups, scheme)
        if search:
            scale = _searched(groups, scale, zero, scheme, weights)
        found[:, columns] = scale[:, 0]
        if zeros is not None and zero is not None:
            zeros[:, columns] = zero[:, 0]
    if isinstance(scheme, NF4) and scheme.double:
        double = nf4.doubly(found)
        return Scales(double.scales, None, double)
    return Scales(found, zeros)


def _chunks(weight: Array, scheme: Grid, chunk: int) -> Iterator[tuple[slice, Float]]:
    """Some columns at a time, as [blocks, group, columns]; the last group is filled up with zeros."""
    K, N = weight.shape
    blocks = scheme.blocks(K)
    for start in range(0, N, chunk):
        columns = slice(start, min(start + chunk, N))
        size = K if isinstance(scheme, PerColumn) else blocks * scheme.group
        groups = np.zeros((size, columns.stop - start), np.float32)
        groups[:K] = weight[:, columns]
        yield columns, groups.reshape(blocks, -1, columns.stop - start)


def _weights(importance: Array, scheme: Grid, K: int) -> Float:
    """The importance of rows as [blocks, group, 1]; at least a millionth of the mean, so that no group has none."""
    size = K if isinstance(scheme, PerColumn) else scheme.blocks(K) * scheme.group
    padded = np.zeros((size, 1), np.float32)
    mean = float(np.mean(importance))
    padded[:K, 0] = np.maximum(importance / mean, 1e-6) if mean > 0 else 1
    return padded.reshape(scheme.blocks(K), -1, 1)


def _range(groups: Float, scheme: Grid) -> tuple[Float, Array | None]:
    """Scale [blocks, 1, n] and zero of the whole range of each group."""
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    if isinstance(scheme, Grouped) and scheme.symmetric:
        return np.where(high > -low, high, low) / np.float32(-scheme.middle), None
    if isinstance(scheme, Grouped):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        scale = (high - low) / np.float32(scheme.highest)
        zero = np.rint(-low / np.where(scale == 0, np.float32(1), scale))
        return scale, np.clip(zero, 0, scheme.highest).astype(np.uint8)
    largest = np.maximum(high, -low)
    return largest if isinstance(scheme, NF4) else largest / np.float32(scheme.highest), None


def _searched(groups: Float, scale: Float, zero: Array | None, scheme: Grid, weights: Float | None) -> Float:
    """The multiple of `scale` whose codes q explain most of the weights w, and the least squares scale for them.

    With the best scale s = sum(w q) / sum(q^2), the squared error is sum(w^2) - sum(w q)^2 / sum(q^2).
    """
    best = np.zeros_like(scale)
    chosen = scale
    weighted = groups if weights is None else groups * weights
    for factor in FACTORS:
        codes = centred(encode(groups, scale * factor, zero, scheme), zero, scheme)
        product = np.einsum("bgn,bgn->bn", weighted, codes)[:, None]
        square = np.einsum("bgn,bgn->bn", codes, codes if weights is None else codes * weights)[:, None]
        fitted = product / np.where(square == 0, np.float32(1), square)
        gain = product * fitted
        chosen = np.where(gain > best, fitted, chosen)
        best = np.maximum(gain, best)
    return chosen
