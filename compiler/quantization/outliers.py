"""LLM.int8(): columns of the input that hold outliers are multiplied in float32, all others in int8.

Dettmers, Lewis, Belkada and Zettlemoyer 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
section 3.2, equation 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .codes import Array, Float, Quantized
from .nearest import check, quantize
from .scheme import Outliers, PerColumn


@dataclass(frozen=True, eq=False)
class Split:
    """x W = x[:, columns] part + x rest, with the columns of x set to zero in the second product."""

    columns: NDArray[np.int64]
    """[C]: which columns of the input hold outliers."""
    rest: Quantized
    """[K, N], zero in the rows of the outliers."""
    part: Float
    """[C, N]"""

    @property
    def scheme(self) -> Outliers:
        assert isinstance(self.rest.scheme, PerColumn)
        return Outliers(tuple(map(int, self.columns)), self.rest.scheme)


def split_outliers(
    weight: Array,
    largest: Array,
    threshold: float = 6.0,
    *,
    scheme: PerColumn = PerColumn(),  # noqa: B008
    search: bool = False,
    name: str = "",
) -> Split:
    """Takes the rows of `weight` [K, N] out whose inputs reach `threshold`, where `largest` [K] is max |x|.

    The rows that stay choose the scales of the int8 part. Raises WeftError where a weight is not finite.
    """
    check(weight, name)
    columns = np.flatnonzero(np.asarray(largest) >= threshold)
    part = np.asarray(weight[columns], np.float32)
    kept = np.array(weight, np.float32)
    kept[columns] = 0
    return Split(columns, quantize(kept, scheme, search=search, name=name), part)
