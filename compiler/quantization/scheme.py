"""How a matrix is stored in few bits: which codes, and which scales for which of its elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...lang import errors
from ...lang.diagnostics import WeftError

GROUPS = (16, 32, 64, 128, 256)
"""Sizes of groups that the kernels of ONNX Runtime take."""

_GROUPS = f"groups of {', '.join(map(str, GROUPS[:-1]))} or {GROUPS[-1]}"
_FLOAT = 4
_DOUBLE_BLOCK = 256
_PART = 256


@dataclass(frozen=True)
class Grouped:
    """Unsigned codes with one scale per group of `group` elements along the contracted axis K of each column.

    A value is `(code - zero) * scale`; `zero` is 2^(bits - 1) when symmetric, else stored in as many bits as a code.
    """

    bits: int = 4
    group: int = 32
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 8):
            raise WeftError(errors.unusable_scheme(self.name, f"{self.bits} bits", "2, 4 or 8 bits"))
        if self.group not in GROUPS:
            raise WeftError(errors.unusable_scheme(self.name, f"groups of {self.group}", _GROUPS))

    @property
    def name(self) -> str:
        return f"int{self.bits}(group = {self.group}{'' if self.symmetric else ', asymmetric'})"

    @property
    def highest(self) -> int:
        """The largest code; the smallest is 0."""
        return 2**self.bits - 1

    @property
    def middle(self) -> int:
        """The code of zero when symmetric."""
        return int(2 ** (self.bits - 1))

    def blocks(self, K: int) -> int:
        """Groups of a column of K elements; the last may be shorter."""
        return -(-K // self.group)

    def rows(self, K: int) -> Iterator[tuple[int, slice]]:
        """The number and the rows of each group of a column of K elements."""
        return _groups(K, self.group)

    def bytes(self, K: int, N: int) -> int:
        """Stored size of codes (the last group of a column is filled up), float32 scales and packed zeros."""
        blocks = self.blocks(K)
        zeros = 0 if self.symmetric else -(-blocks * self.bits // 8)
        return N * (blocks * self.group * self.bits // 8 + blocks * _FLOAT + zeros)


@dataclass(frozen=True)
class PerColumn:
    """Signed codes with one scale per output column: the right side of an int8 matrix product.

    The left side, the activations, is quantized while the model runs. 7 bits keep sums of two products of uint8 and
    int8 within 16 bits, for processors that add them so (x86 without VNNI).
    """

    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in (7, 8):
            raise WeftError(errors.unusable_scheme(self.name, f"{self.bits} bits per column", "7 or 8 bits per column"))

    @property
    def name(self) -> str:
        return "int8" if self.bits == 8 else f"int{self.bits}"

    @property
    def highest(self) -> int:
        """The largest code; the smallest is its negative."""
        return int(2 ** (self.bits - 1)) - 1

    def blocks(self, K: int) -> int:
        """A column has one scale."""
        return 1

    def rows(self, K: int) -> Iterator[tuple[int, slice]]:
        """The number of the block and the rows, for parts of a column of K elements."""
        return ((0, slice(start, min(start + _PART, K))) for start in range(0, K, _PART))

    def bytes(self, K: int, N: int) -> int:
        """One byte per element and one float32 scale per column."""
        return K * N + N * _FLOAT


@dataclass(frozen=True)
class NF4:
    """4-bit NormalFloat: 16 levels that split a normal distribution evenly, times the largest of each group.

    `double` stores these scales in 8 bits: in blocks of 256, after their mean is taken off (Dettmers et al. 2023,
    "QLoRA", section 3 and appendix E).
    """

    group: int = 64
    double: bool = True

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise WeftError(errors.unusable_scheme(self.name, f"groups of {self.group}", _GROUPS))

    @property
    def name(self) -> str:
        return f"nf4(group = {self.group}{', double' if self.double else ''})"

    def blocks(self, K: int) -> int:
        """Groups of a column of K elements; the last may be shorter."""
        return -(-K // self.group)

    def rows(self, K: int) -> Iterator[tuple[int, slice]]:
        """The number and the rows of each group of a column of K elements."""
        return _groups(K, self.group)

    def bytes(self, K: int, N: int) -> int:
        """Half a byte per element, and float32 scales or, when double, their codes, blocks' scales and mean."""
        scales = self.blocks(K) * N
        double = scales + -(-scales // _DOUBLE_BLOCK) * _FLOAT + _FLOAT
        return N * -(-self.blocks(K) * self.group // 2) + (double if self.double else scales * _FLOAT)


@dataclass(frozen=True)
class Half:
    """16-bit floats: `float16` (11 significant bits, up to 65504) or `bfloat16` (8 bits, the range of float32)."""

    kind: str = "float16"

    def __post_init__(self) -> None:
        if self.kind not in ("float16", "bfloat16"):
            raise WeftError(errors.unusable_scheme(self.kind, f"the type `{self.kind}`", "`float16` or `bfloat16`"))

    @property
    def name(self) -> str:
        return self.kind

    def bytes(self, K: int, N: int) -> int:
        return 2 * K * N


@dataclass(frozen=True)
class Outliers:
    """Rows of the matrix that multiply outliers in float32, all others in int8 (Dettmers et al. 2022, LLM.int8())."""

    columns: tuple[int, ...]
    """Numbers, along K, of the columns of the input that hold outliers."""
    inner: PerColumn = PerColumn()

    @property
    def name(self) -> str:
        return f"{self.inner.name}(outliers = {len(self.columns)})"

    def bytes(self, K: int, N: int) -> int:
        """Of the codes (zero where the outliers are), the float32 rows and their int64 numbers."""
        return self.inner.bytes(K, N) + len(self.columns) * (N * _FLOAT + 8)


def _groups(K: int, group: int) -> Iterator[tuple[int, slice]]:
    return ((block, slice(start, min(start + group, K))) for block, start in enumerate(range(0, K, group)))


Scheme = Grouped | PerColumn | NF4 | Half
"""What stores a matrix on its own."""

Grid = Grouped | PerColumn | NF4
"""What stores codes and scales."""
