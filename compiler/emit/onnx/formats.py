"""How the numbers of a parameter lie in the data file: float32, floats of 16 bits, or whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ...ir.module import Parameter
from ...ir.source import Outlying, Quantized
from ...quantization import half
from ...quantization.scheme import NF4, Grouped, Half


@dataclass(frozen=True)
class Format:
    """`kind` is float32, float16, bfloat16, int64, int8 or codes: numbers of `bits`, several in a byte along the last
    dimension, the first in the lowest bits, or in the highest where they are `turned`."""

    kind: str = "float32"
    bits: int = 0
    turned: bool = False

    @property
    def onnx(self) -> int:
        """The element type of the stored tensor."""
        return _ONNX[self.kind]

    def shape(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """The dimensions of the stored tensor for those of the values."""
        if self.kind != "codes":
            return lengths
        return (*lengths[:-1], -(-lengths[-1] * self.bits // 8))

    @property
    def width(self) -> int:
        """Bytes of one element of the stored tensor."""
        return _WIDTH[self.kind]

    def stored(self, array: NDArray[Any], what: str = "a weight") -> NDArray[Any]:
        """Values in the order of the file as the numbers that are written.

        Raises WeftError for what 16 bits cannot hold; `what` is the name of the tensor.
        """
        if self.kind == "codes":
            return packed(array, self.bits, self.turned)
        if self.kind in ("float16", "bfloat16"):
            return half.rounded(np.atleast_1d(array), self.kind, what)
        return np.ascontiguousarray(array, _NUMPY[self.kind])


_ONNX = {
    "float32": int(TensorProto.FLOAT), "float16": int(TensorProto.FLOAT16), "bfloat16": int(TensorProto.BFLOAT16),
    "int64": int(TensorProto.INT64), "int8": int(TensorProto.INT8), "codes": int(TensorProto.UINT8),
}
_WIDTH = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int8": 1, "codes": 1}
_NUMPY = {"float32": "<f4", "int64": "<i8", "int8": "i1"}

FLOAT32 = Format()


def format_of(parameter: Parameter) -> Format:
    """The format that the source of a parameter asks for."""
    source = parameter.source
    if isinstance(source, Outlying) and source.part == "columns":
        return Format("int64")
    if not isinstance(source, Quantized) or source.part == "scales":
        return FLOAT32
    if isinstance(source.scheme, Half):
        return Format(source.scheme.kind)
    if isinstance(source.scheme, NF4):
        return Format("codes", 4, turned=True)
    return Format("codes", source.scheme.bits) if isinstance(source.scheme, Grouped) else Format("int8")


def packed(codes: NDArray[Any], bits: int, turned: bool = False) -> NDArray[Any]:
    """Codes with several in a byte along the last dimension, zeros filling up the last byte."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    per = 8 // bits
    short = -codes.shape[-1] % per
    if short:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], short), codes.dtype)], axis=-1)
    parts = codes.astype(np.uint8, copy=False).reshape(*codes.shape[:-1], -1, per)
    places = range(per - 1, -1, -1) if turned else range(per)
    result = np.zeros(parts.shape[:-1], np.uint8)
    for i, place in enumerate(places):
        result |= parts[..., i] << np.uint8(bits * place)
    return result
