"""The weights of a transformed module, made from those of the model: tensors are joined, reordered and quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np

from .ir.module import Module, Parameter, Path
from .ir.primitive import Array
from .ir.source import Joined, Quantized, Source, Stored
from .quantization import nearest
from .quantization.codes import Quantized as Matrix
from .quantization.scheme import Scheme

Read = Callable[[str], Array]
# How a matrix [K, N] is quantized: by its place in the module, its values and its scheme.
Quantize = Callable[[str, Array, Scheme], Matrix]


def rounded(path: str, matrix: Array, scheme: Scheme) -> Matrix:
    """Rounding to the nearest code: what needs nothing but the weights."""
    return nearest.quantize(matrix, scheme, name=path)


class Derived(Mapping[str, Array]):
    """The weights of a module by path, each made when it is asked for from those that `read` gives.

    Codes are uint8 or int8 and as the parameters of quantized products have them, everything else float32. The matrix
    quantized last is remembered, because its codes and scales are asked for one after another.
    """

    def __init__(self, module: Module, read: Read | Mapping[str, Array], quantize: Quantize = rounded) -> None:
        self._parameters = dict(module.parameters())
        self._read = read.__getitem__ if isinstance(read, Mapping) else read
        self._quantize = quantize
        self._last: tuple[str, Scheme, Matrix] | None = None

    def __getitem__(self, path: str) -> Array:
        parameter = self._parameters[path]
        if parameter.source is None:
            return self._read(path)
        base = _path(path)[:-1]
        if isinstance(parameter.source, Quantized):
            return _part(self.quantized(path, parameter), parameter)
        return self._made(parameter.source, base).reshape(parameter.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def quantized(self, path: str, parameter: Parameter) -> Matrix:
        """The whole quantized matrix that a parameter is a part of."""
        source, base = parameter.source, _path(path)[:-1]
        assert isinstance(source, Quantized)
        place = ".".join(map(str, (*base, parameter.name.rpartition("_")[0])))
        if self._last is None or self._last[:2] != (place, source.scheme):
            self._last = None  # what is not needed any more goes before the next matrix comes
            matrix = self._made(source.of, base)
            self._last = (place, source.scheme, self._quantize(place, matrix, source.scheme))
        return self._last[2]

    def _made(self, source: Source, base: Path) -> Array:
        if isinstance(source, Stored):
            array = np.asarray(self._read(".".join(map(str, source.path(base)))))
            order = [i for group in source.dimensions for i in group]
            shape = [prod(array.shape[i] for i in group) for group in source.dimensions]
            return np.transpose(array, order).reshape(shape)
        if isinstance(source, Joined):
            return np.concatenate([self._made(part, base) for part in source.parts], axis=source.axis)
        raise TypeError("a quantized matrix is part of nothing else")


def derived(module: Module, weights: Read | Mapping[str, Array]) -> Derived:
    """The weights of a module that passes have transformed, from those of the model before."""
    return Derived(module, weights)


def _path(name: str) -> Path:
    return tuple(int(p) if p.isdigit() else p for p in name.split("."))


def _part(matrix: Matrix, parameter: Parameter) -> Array:
    """Codes [N, J, M], scales [N, J] and zeros [N, J] of groups; codes [K, N] and scales [N] of columns."""
    source = parameter.source
    assert isinstance(source, Quantized)
    if source.part == "codes":
        codes = matrix.codes
        if len(parameter.shape) == 3:
            return np.ascontiguousarray(codes.T).reshape(parameter.shape)
        return codes
    found = matrix.scales if source.part == "scales" else matrix.zeros
    assert found is not None
    return np.ascontiguousarray(found.T).reshape(parameter.shape)
