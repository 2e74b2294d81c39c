"""How the numbers of a parameter lie in the data file: float32, or whole numbers of a few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ...ir.module import Parameter
from ...ir.source import Quantized
from ...quantization.scheme import Grouped


@dataclass(frozen=True)
class Format:
    """`bits` 0: float32. Else codes: several in a byte along the last dimension, the first in the lowest bits; signed
    ones take a byte each."""

    bits: int = 0
    signed: bool = False

    @property
    def onnx(self) -> int:
        """The element type of the stored tensor."""
        if not self.bits:
            return int(TensorProto.FLOAT)
        return int(TensorProto.INT8 if self.signed else TensorProto.UINT8)

    def shape(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """The dimensions of the stored tensor for those of the values."""
        if not self.bits or self.signed:
            return lengths
        return (*lengths[:-1], -(-lengths[-1] * self.bits // 8))

    @property
    def width(self) -> int:
        """Bytes of one element of the stored tensor."""
        return 1 if self.bits else 4


FLOAT32 = Format()


def format_of(parameter: Parameter) -> Format:
    """The format that the source of a parameter asks for."""
    source = parameter.source
    if not isinstance(source, Quantized) or source.part == "scales":
        return FLOAT32
    return Format(source.scheme.bits) if isinstance(source.scheme, Grouped) else Format(8, signed=True)


def packed(codes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Codes with several in a byte along the last dimension, zeros filling up the last byte."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    per = 8 // bits
    short = -codes.shape[-1] % per
    if short:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], short), codes.dtype)], axis=-1)
    parts = codes.astype(np.uint8, copy=False).reshape(*codes.shape[:-1], -1, per)
    result = parts[..., 0].copy()
    for i in range(1, per):
        result |= parts[..., i] << (bits * i)
    return result
