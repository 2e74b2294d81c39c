"""What calibration keeps of the inputs of a matrix: sums over all of them, and a sample of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lang import errors
from ...lang.diagnostics import WeftError
from .finite import check_finite, spelled

Array = NDArray[Any]
Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of inputs x [M, K] seen so far: `count` rows, sum of x xᵀ, sum of |x|, max of |x|, and some of the rows.

    `sample` is drawn without regard to how the rows were cut into batches: it holds those with the smallest hash of
    their number and `seed`.
    """

    count: int
    products: Array | None
    """[K, K]: sum of x xᵀ, when asked for."""
    sums: NDArray[np.float64]
    """[K]: sum of |x|."""
    squares: NDArray[np.float64]
    """[K]: sum of x²."""
    largest: Float
    """[K]: max of |x|."""
    sample: Float
    """[R, K]: at most `rows` of them."""
    keys: NDArray[np.uint64]
    """[R]: the hashes of the sampled rows."""
    rows: int
    seed: int
    name: str

    def plus(self, inputs: Array) -> Moments:
        """With more inputs [.., K] (rows that are padding left out by the caller); raises WeftError if not finite."""
        x = np.asarray(inputs, np.float32).reshape(-1, len(self.sums))
        check_finite(x, f"the input of {spelled(self.name)}")
        if not len(x):
            return self
        size = np.abs(x)
        products = self.products
        if products is not None:
            added = (x.T @ x).astype(products.dtype, copy=False)
            products = np.add(products, added, out=added)
        keys = np.concatenate((self.keys, _hashes(self.count, len(x), self.seed)))
        kept = np.sort(np.argsort(keys, kind="stable")[: self.rows])
        old = kept[kept < len(self.keys)]
        sample = np.concatenate((self.sample[old], x[kept[len(old) :] - len(self.keys)]))
        return replace(
            self,
            count=self.count + len(x),
            products=products,
            sums=self.sums + size.sum(axis=0, dtype=np.float64),
            squares=self.squares + np.einsum("mk,mk->k", x, x, dtype=np.float64),
            largest=np.maximum(self.largest, size.max(axis=0)),
            sample=sample,
            keys=keys[kept],
        )

    @property
    def hessian(self) -> Array:
        """E[x xᵀ], [K, K]."""
        if self.products is None:
            raise ValueError(f"the products of the inputs of {spelled(self.name)} were not kept")
        return self.products / self.products.dtype.type(self._counted)

    @property
    def magnitude(self) -> Float:
        """E|x|, [K]."""
        return (self.sums / self._counted).astype(np.float32)

    @property
    def importance(self) -> Float:
        """E[x²], [K]: the diagonal of the Hessian."""
        return (self.squares / self._counted).astype(np.float32)

    @property
    def _counted(self) -> int:
        if not self.count:
            raise WeftError(errors.no_calibration(spelled(self.name)))
        return self.count


def moments(
    size: int, *, products: bool = True, rows: int = 256, seed: int = 0, dtype: Any = np.float32, name: str = ""
) -> Moments:
    """Of no inputs yet, K = `size`; `products` keeps [K, K] in `dtype` for GPTQ, `rows` inputs are sampled."""
    zero = np.zeros(size)
    return Moments(
        count=0,
        products=np.zeros((size, size), dtype) if products else None,
        sums=zero,
        squares=zero,
        largest=np.zeros(size, np.float32),
        sample=np.zeros((0, size), np.float32),
        keys=np.zeros(0, np.uint64),
        rows=rows,
        seed=seed,
        name=name,
    )


def _hashes(start: int, count: int, seed: int) -> NDArray[np.uint64]:
    """One 64-bit hash per number of a row (Steele, Lea and Flood 2014, SplitMix64)."""
    first = np.random.default_rng(seed).integers(2**64, dtype=np.uint64)
    z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + first
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
