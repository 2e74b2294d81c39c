"""Rounding to nearest: exact where it can be, within half a step elsewhere, the same however it is cut."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.quantization.codes import Quantized, dequantized
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.scheme import NF4, Grouped, Half, PerColumn, Scheme
from weft.lang.diagnostics import WeftError

GRIDS = [Grouped(bits, 32, symmetric) for bits in (2, 4, 8) for symmetric in (True, False)]
EVERY = [*GRIDS, PerColumn(), PerColumn(7), NF4(32, True), NF4(32, False), Half("float16"), Half("bfloat16")]


def drawn(K: int = 100, N: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((K, N), dtype=np.float32)


def spelled(scheme: Scheme) -> str:
    return scheme.name


def spread(scales: np.ndarray, K: int) -> np.ndarray:
    return np.repeat(scales, 32, axis=0)[:K]


def error(weight: np.ndarray, quantized: Quantized) -> float:
    return float(np.square(weight - dequantized(quantized, np.float64)).sum())


@pytest.mark.parametrize("scheme", [s for s in GRIDS if not s.symmetric], ids=spelled)
def test_asymmetric_values_come_back_within_half_a_step_and_that_of_the_zero(scheme: Grouped) -> None:
    weight = drawn() + 1
    quantized = quantize(weight, scheme)
    off = np.abs(weight - dequantized(quantized, np.float64)) / spread(quantized.scales, 100)
    assert off.max() <= 1.001
    assert np.median(off) <= 0.5
    assert quantized.codes.max() <= scheme.highest


@pytest.mark.parametrize("scheme", [s for s in GRIDS if s.symmetric], ids=spelled)
def test_symmetric_values_come_back_within_half_a_step_unless_the_range_ends_before(scheme: Grouped) -> None:
    weight = drawn()
    quantized = quantize(weight, scheme)
    steps = spread(quantized.scales, 100)
    off = np.abs(weight - dequantized(quantized, np.float64))
    inside = weight / steps < scheme.middle - 0.5
    assert (off[inside] <= 0.501 * np.abs(steps)[inside]).all()
    assert (off <= 1.001 * np.abs(steps)).all()


@pytest.mark.parametrize("bits", (2, 4, 8))
def test_the_largest_value_of_a_symmetric_group_is_the_lowest_code(bits: int) -> None:
    weight = drawn()
    quantized = quantize(weight, Grouped(bits, 32))
    for block, start in enumerate(range(0, 100, 32)):
        rows = np.abs(weight[start : start + 32]).argmax(axis=0) + start
        assert (quantized.codes[rows, np.arange(20)] == 0).all()
        np.testing.assert_allclose(
            dequantized(quantized)[rows, np.arange(20)], weight[rows, np.arange(20)], rtol=1e-6, err_msg=str(block)
        )


def test_each_column_of_int8_reaches_its_largest_code() -> None:
    for bits, highest in ((8, 127), (7, 63)):
        codes = quantize(drawn(), PerColumn(bits)).codes
        assert codes.dtype == np.int8
        assert (np.abs(codes).max(axis=0) == highest).all()


@pytest.mark.parametrize("scheme", EVERY, ids=spelled)
@pytest.mark.parametrize("search", (False, True))
def test_the_result_does_not_depend_on_the_chunks(scheme: Scheme, search: bool) -> None:
    one, other = (quantize(drawn(), scheme, search=search, chunk=chunk) for chunk in (3, 1000))
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(dequantized(one), dequantized(other))


@pytest.mark.parametrize("scheme", EVERY, ids=spelled)
def test_it_does_not_matter_how_the_weight_lies_in_memory(scheme: Scheme) -> None:
    one, other = quantize(drawn(), scheme), quantize(np.asfortranarray(drawn()), scheme)
    np.testing.assert_array_equal(one.codes, other.codes)


@pytest.mark.parametrize("scheme", EVERY, ids=spelled)
@pytest.mark.parametrize("search", (False, True))
def test_zeros_stay_zero_and_quantizing_twice_changes_nothing_more(scheme: Scheme, search: bool) -> None:
    weight = drawn()
    weight[32:64] = 0
    weight[70] = 0
    kept = dequantized(quantize(weight, scheme, search=search))
    assert (kept[32:64] == 0).all()
    assert (kept[70] == 0).all()
    assert np.isfinite(kept).all()
    if not search and not getattr(scheme, "double", False):
        np.testing.assert_allclose(dequantized(quantize(kept, scheme)), kept, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", GRIDS, ids=spelled)
def test_a_matrix_of_codes_comes_back_exactly(scheme: Grouped) -> None:
    generator = np.random.default_rng(1)
    codes = generator.integers(0, scheme.highest + 1, (100, 20))
    for start in range(0, 100, 32):
        codes[start], codes[start + 1] = 0, scheme.highest  # both ends of the range occur
    zero = scheme.middle if scheme.symmetric else 2 ** (scheme.bits - 1) - 1
    weight = ((codes - zero) * 0.25).astype(np.float32)
    np.testing.assert_array_equal(dequantized(quantize(weight, scheme)), weight)


@pytest.mark.parametrize("scheme", [s for s in EVERY if not isinstance(s, Half)], ids=spelled)
def test_a_search_never_has_a_larger_error(scheme: Scheme) -> None:
    weight = drawn(128, 40)
    weight[5] *= 20
    plain, searched = (error(weight, quantize(weight, scheme, search=search)) for search in (False, True))
    assert searched <= plain * 1.0001


def test_a_search_takes_a_tenth_off_the_squared_error_of_four_bits_in_groups() -> None:
    plain, searched = (error(drawn(512, 40), quantize(drawn(512, 40), Grouped(4, 32), search=s)) for s in (False, True))
    assert searched < 0.92 * plain


def test_importance_moves_the_error_to_rows_that_matter_less() -> None:
    weight, importance = drawn(128, 40), np.ones(128)
    importance[::4] = 100
    off = [
        np.square(weight - dequantized(quantize(weight, Grouped(4, 32), search=True, importance=i)))[::4].sum()
        for i in (None, importance)
    ]
    assert off[1] < 0.9 * off[0]
    with pytest.raises(ValueError, match="search"):
        quantize(weight, Grouped(4, 32), importance=importance)


@given(st.integers(1, 70), st.integers(1, 5), st.sampled_from(EVERY), st.integers(0, 99), st.floats(1e-12, 1e12))
@settings(max_examples=80, deadline=None)
def test_any_shape_and_size_of_values_comes_back_with_a_bounded_error(
    K: int, N: int, scheme: Scheme, seed: int, size: float
) -> None:
    if isinstance(scheme, Half) and scheme.kind == "float16":
        size = 1.0
    weight = (drawn(K, N, seed) * size).astype(np.float32)
    quantized = quantize(weight, scheme)
    assert quantized.shape == (K, N)
    kept = dequantized(quantized, np.float64)
    np.testing.assert_array_equal(dequantized(quantized, columns=slice(1, None)), dequantized(quantized)[:, 1:])
    np.testing.assert_allclose(dequantized(quantized), kept, rtol=3e-7, atol=1e-30)
    bound = {2: 1.0, 4: 0.2, 7: 0.01, 8: 0.01}.get(getattr(scheme, "bits", 4), 0.2)
    assert np.abs(weight - kept).max() <= bound * 2 * np.abs(weight).max()


def test_a_weight_that_is_not_finite_is_named() -> None:
    weight = drawn()
    weight[3, 4], weight[3, 5] = np.inf, -np.inf
    for scheme in EVERY:
        with pytest.raises(WeftError, match=r"blocks\.0\.up") as caught:
            quantize(weight, scheme, name="blocks.0.up")
        assert caught.value.diagnostics[0].code == "E0812"


def test_subnormal_and_very_small_weights_do_no_harm() -> None:
    for value in (1e-45, 1e-40, 1e-38):
        for scheme in EVERY:
            kept = dequantized(quantize(np.full((40, 3), value, np.float32), scheme))
            assert np.isfinite(kept).all()
            assert np.abs(kept).max() <= 3 * value


@pytest.mark.parametrize("scheme", [s for s in EVERY if not isinstance(s, Half)], ids=spelled)
def test_little_memory_is_needed_besides_the_result(scheme: Scheme) -> None:
    weight = drawn(512, 4096)
    tracemalloc.start()
    quantized = quantize(weight, scheme, search=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    dequantized(quantized)
    again = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 1.0 * weight.nbytes
    assert again < 1.6 * weight.nbytes
