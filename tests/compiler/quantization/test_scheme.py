"""Schemes: what they store, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.outliers import split_outliers
from weft.compiler.quantization.packing import bnb4, int8_columns, nbits
from weft.compiler.quantization.scheme import NF4, Grouped, Half, PerColumn
from weft.lang.diagnostics import WeftError


def drawn(K: int, N: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((K, N), dtype=np.float32)


@pytest.mark.parametrize("bits", (2, 4, 8))
@pytest.mark.parametrize("symmetric", (True, False))
@pytest.mark.parametrize("K", (96, 100))
def test_the_size_of_groups_is_that_of_the_packed_arrays(bits: int, symmetric: bool, K: int) -> None:
    quantized = quantize(drawn(K, 24), Grouped(bits, 32, symmetric))
    assert quantized.bytes == sum(array.nbytes for array in nbits(quantized) if array is not None)


def test_the_sizes_of_the_other_schemes_are_those_of_their_arrays() -> None:
    weight = drawn(128, 24)
    assert quantize(weight, PerColumn()).bytes == sum(a.nbytes for a in int8_columns(quantize(weight, PerColumn())))
    assert quantize(weight, NF4(64, False)).bytes == sum(a.nbytes for a in bnb4(quantize(weight, NF4(64, False))))
    assert quantize(weight, Half()).bytes == quantize(weight, Half()).codes.nbytes
    double = quantize(weight, NF4(64, True))
    assert double.double is not None
    scales = (double.double.codes, double.double.steps, double.double.mean)
    assert double.bytes == bnb4(double).B.nbytes + sum(part.nbytes for part in scales)
    split = split_outliers(weight, np.arange(128), threshold=100)
    parts = (split.rest.codes, split.rest.scales, split.part, split.columns)
    assert split.scheme.bytes(128, 24) == sum(part.nbytes for part in parts if part is not None)


def test_double_quantization_saves_what_the_paper_says() -> None:
    bits = [NF4(64, double).bytes(4096, 4096) * 8 / 4096**2 for double in (False, True)]
    assert bits[0] == 4.5
    assert bits[1] == pytest.approx(4.127, abs=1e-3)


def test_names_are_those_of_recipes() -> None:
    groups = (Grouped(4, 128), Grouped(2, 16, False))
    others = (PerColumn(), PerColumn(7), NF4(), NF4(32, False), Half("bfloat16"))
    assert [scheme.name for scheme in (*groups, *others)] == [
        "int4(group = 128)", "int2(group = 16, asymmetric)", "int8", "int7", "nf4(group = 64, double)",
        "nf4(group = 32)", "bfloat16",
    ]


@pytest.mark.parametrize("make", (lambda: Grouped(3), lambda: Grouped(4, 48), lambda: PerColumn(4), lambda: NF4(8)))
def test_a_scheme_without_kernels_is_refused(make) -> None:
    with pytest.raises(WeftError) as caught:
        make()
    assert caught.value.diagnostics[0].code == "E0811"


def test_an_unknown_type_of_half_is_refused() -> None:
    with pytest.raises(WeftError, match="float8"):
        Half("float8")
