"""GPTQ: rows are rounded one after another, and the rows not yet rounded make up for the error.

Frantar, Ashkboos, Hoefler and Alistarh 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", algorithm 1. With d = w - q and the Hessian H = E[x xᵀ] of the inputs x, a column's mean squared output
error is dᵀ H d. Rounding row k changes the rows after it by -U[k, k+1:]ᵀ d_k / U[k, k], where H⁻¹ = Uᵀ U (equation 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...lang import errors
from ...lang.diagnostics import WeftError
from .codes import Array, Float, Quantized, decode, encode
from .finite import check_finite, spelled
from .nearest import Scales, check, finished, scales
from .scheme import Grid, PerColumn

_LEAF = 256


@dataclass(frozen=True, eq=False)
class Prepared:
    """What rounding needs of a Hessian: made once for all matrices that share the input."""

    order: NDArray[np.int64]
    """[K]: which row is rounded first, second, ..."""
    upper: Float
    """[K, K], upper triangular: H⁻¹ = Uᵀ U, rows and columns in that order."""
    importance: Float
    """[K]: the diagonal of H, in the order of the weight."""


def prepare(hessian: Array, *, damp: float = 0.01, order: str = "activation") -> Prepared:
    """Factorises the Hessian [K, K]: E[x xᵀ], any positive multiple of it will do.

    `damp` times the mean of the diagonal is added to it. `order`: "activation" rounds the rows with the largest inputs
    first, while there is most freedom left to make up for them; "given" goes from the first to the last. The work is
    K³, in float64, in three times the memory of the Hessian. Raises WeftError where it is zero or not finite.
    """
    if order not in ("activation", "given"):
        raise ValueError(f"the order is `activation` or `given`, not `{order}`")
    diagonal = np.diagonal(hessian).astype(np.float64)
    check_finite(hessian, "the Hessian")
    mean = float(diagonal.mean())
    if mean <= 0:
        raise WeftError(errors.no_calibration("a matrix"))
    rows = np.argsort(-diagonal, kind="stable") if order == "activation" else np.arange(len(diagonal))
    # with rows and columns reversed, the lower Cholesky factor becomes the upper R of H = R Rᵀ, and U is its inverse
    backwards = rows[::-1]
    damped = hessian[np.ix_(backwards, backwards)].astype(np.float64)
    damped[np.diag_indices_from(damped)] += damp * mean
    factor = np.linalg.cholesky(damped)[::-1, ::-1]
    del damped
    return Prepared(rows, _inverse(factor).astype(np.float32), diagonal.astype(np.float32))


def _inverse(upper: Array) -> Array:
    """The inverse of an upper triangular matrix, by halves: [[A, B], [0, C]]⁻¹ = [[A⁻¹, -A⁻¹ B C⁻¹], [0, C⁻¹]]."""
    size = len(upper)
    if size <= _LEAF:
        return np.triu(np.linalg.inv(upper))
    half = size // 2
    result = np.zeros_like(upper)
    result[:half, :half] = _inverse(upper[:half, :half])
    result[half:, half:] = _inverse(upper[half:, half:])
    result[:half, half:] = -result[:half, :half] @ upper[:half, half:] @ result[half:, half:]
    return result


def quantize_gptq(
    weight: Array,
    scheme: Grid,
    hessian: Array | Prepared,
    *,
    damp: float = 0.01,
    order: str = "activation",
    search: bool = True,
    chunk: int = 1024,
    name: str = "",
) -> Quantized:
    """Codes of `weight` [K, N] that keep x W close for inputs x with `hessian` E[x xᵀ] [K, K] (or a `Prepared` one).

    The scales of all groups are chosen beforehand from the weights in their own order ("static groups"), so the result
    has the layout of rounding to nearest whatever the order of rounding. `search` chooses them for least squared error,
    weighed by the inputs. `chunk` columns are done at a time.
    Raises WeftError where a weight is not finite.
    """
    check(weight, name)
    prepared = hessian if isinstance(hessian, Prepared) else prepare(hessian, damp=damp, order=order)
    if len(prepared.order) != len(weight):
        raise ValueError(f"{spelled(name)} of shape {weight.shape} has inputs of another size: {len(prepared.order)}")
    found = scales(weight, scheme, search=search, importance=prepared.importance if search else None)
    codes = np.empty(weight.shape, np.int8 if isinstance(scheme, PerColumn) else np.uint8)
    for start in range(0, weight.shape[1], chunk):
        columns = slice(start, start + chunk)
        rows = np.asarray(weight[prepared.order, columns], np.float32)
        codes[prepared.order, columns] = _rounded(rows, scheme, _part(found, columns), prepared)
    return finished(scheme, codes, found)


def _part(found: Scales, columns: slice) -> Scales:
    return Scales(found.scales[:, columns], None if found.zeros is None else found.zeros[:, columns])


def _rounded(values: Float, scheme: Grid, found: Scales, prepared: Prepared) -> Array:
    """The codes of rows in the order of rounding; `values` is overwritten with d / U[k, k]."""
    group = len(values) if isinstance(scheme, PerColumn) else scheme.group
    upper = prepared.upper
    codes = np.empty(values.shape, np.int8 if isinstance(scheme, PerColumn) else np.uint8)

    def one(row: int) -> None:
        number = prepared.order[row] // group
        scale, zero = found.scales[number], None if found.zeros is None else found.zeros[number]
        codes[row] = encode(values[row], scale, zero, scheme)
        values[row] -= decode(codes[row], scale, zero, scheme)
        values[row] /= upper[row, row]

    def several(start: int, stop: int) -> None:
        """Rounds one half, tells the other about its errors, rounds that: nearly all work is in large products."""
        if stop - start == 1:
            one(start)
            return
        middle = (start + stop + 1) // 2
        several(start, middle)
        values[middle:stop] -= upper[start:middle, middle:stop].T @ values[start:middle]
        several(middle, stop)

    several(0, len(values))
    return codes
