"""What a quantized matrix gets wrong: in its weights, and in its outputs for inputs like those of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .codes import Array, Quantized, dequantized
from .mixed import Cost
from .nearest import quantize
from .scheme import Scheme


@dataclass(frozen=True)
class Error:
    """Root mean squares of the error relative to those of the exact values."""

    weights: float
    """sqrt(sum d² / sum w²), d = w - q"""
    outputs: float | None
    """sqrt(tr(dᵀ H d) / tr(wᵀ H w)) with H = E[x xᵀ], when H is known"""
    worst: float
    """The same for the worst column: of the outputs when H is known, else of the weights."""
    worst_column: int


def error(weight: Array, quantized: Quantized | Array, hessian: Array | None = None, *, chunk: int = 1024) -> Error:
    """Compares `weight` [K, N] with a quantized one, or with any matrix that stands in for it, in float64.

    `hessian` [K, K]: E[x xᵀ] of the inputs or a multiple of it (its products are taken in its own precision).
    """
    N = weight.shape[1]
    found = np.zeros((4, N))
    for start in range(0, N, chunk):
        columns = slice(start, min(start + chunk, N))
        exact = np.asarray(weight[:, columns], np.float64)
        stored = (
            dequantized(quantized, np.float64, columns)
            if isinstance(quantized, Quantized)
            else np.asarray(quantized[:, columns], np.float64)
        )
        difference = exact - stored
        found[0, columns], found[1, columns] = _squares(difference), _squares(exact)
        if hessian is not None:
            found[2, columns], found[3, columns] = _squares(difference, hessian), _squares(exact, hessian)
    outputs = None if hessian is None else _ratio(found[2].sum(), found[3].sum())
    columns_errors = _ratios(found[0], found[1]) if hessian is None else _ratios(found[2], found[3])
    worst = int(columns_errors.argmax())
    return Error(_ratio(found[0].sum(), found[1].sum()), outputs, float(columns_errors[worst]), worst)


def costs(weight: Array, schemes: Sequence[Scheme], hessian: Array | None = None) -> dict[Scheme, Cost]:
    """What a matrix costs in each scheme, rounded to nearest: bytes, and the squared relative error of its outputs.

    Squares, since errors of different matrices are independent and their squares add up. Without a Hessian the errors
    are those of the weights.
    """
    importance = None if hessian is None else np.diagonal(hessian)
    found = {}
    for scheme in schemes:
        quantized = quantize(weight, scheme, search=True, importance=importance)
        measured = error(weight, quantized, hessian)
        relative = measured.weights if measured.outputs is None else measured.outputs
        found[scheme] = Cost(quantized.bytes, relative**2)
    return found


def _squares(values: Array, hessian: Array | None = None) -> NDArray[np.float64]:
    """Of each column v: vᵀ v, or vᵀ H v."""
    if hessian is None:
        return np.einsum("kn,kn->n", values, values)
    return np.einsum("kn,kn->n", values, hessian @ values.astype(hessian.dtype), dtype=np.float64)


def _ratio(error: float, size: float) -> float:
    return float(_ratios(np.array([error]), np.array([size]))[0])


def _ratios(errors: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Roots of quotients; no error of nothing is 0, any error of nothing is infinite."""
    nothing = np.where(errors > 0, np.inf, 0.0)
    # rounding may leave a tiny negative square where the Hessian is singular
    quotients = np.maximum(errors, 0) / np.where(sizes > 0, sizes, 1)
    return np.sqrt(np.where(sizes > 0, quotients, nothing))
