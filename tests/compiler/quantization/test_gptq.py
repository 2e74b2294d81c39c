"""GPTQ: errors are made up for by later rows, in the layout of rounding to nearest."""

from __future__ import annotations

import numpy as np
import pytest
from weft.compiler.quantization.codes import dequantized
from weft.compiler.quantization.gptq import prepare, quantize_gptq
from weft.compiler.quantization.measure import error
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.scheme import NF4, Grid, Grouped, PerColumn
from weft.lang.diagnostics import WeftError

EVERY = [Grouped(4, 32), Grouped(4, 32, False), Grouped(2, 16, False), Grouped(8, 64), PerColumn(), NF4(32)]


def correlated(M: int, K: int, seed: int = 0) -> np.ndarray:
    """Inputs [M, K] whose columns depend on each other and differ in size, as those of trained models do."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((K, K)) * np.arange(1, K + 1)[:, None] ** -0.5
    return (generator.standard_normal((M, K)) @ mixing * np.exp(generator.standard_normal(K))).astype(np.float32)


def weights(K: int, N: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((K, N), dtype=np.float32)


def hessian(K: int) -> np.ndarray:
    x = correlated(8 * K, K).astype(np.float64)
    return x.T @ x / len(x)


def plainly(weight: np.ndarray, scheme: Grouped, hessian: np.ndarray, damp: float) -> np.ndarray:
    """Algorithm 1 of the paper, a row at a time, with the inverse as it is written there; returns the values."""
    rest = weight.astype(np.float64).copy()
    damped = hessian + damp * np.diagonal(hessian).mean() * np.eye(len(hessian))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    scales, zero = quantize(weight, scheme).scales.astype(np.float64), scheme.middle
    result = np.zeros_like(rest)
    for row in range(len(rest)):
        scale = scales[row // scheme.group]
        result[row] = (np.clip(np.rint(rest[row] / scale) + zero, 0, scheme.highest) - zero) * scale
        rest[row:] -= np.outer(upper[row, row:], (rest[row] - result[row]) / upper[row, row])
    return result


def test_it_is_the_algorithm_of_the_paper() -> None:
    weight, scheme = weights(96, 40), Grouped(4, 32)
    expected = plainly(weight, scheme, hessian(96), 0.01)
    found = dequantized(quantize_gptq(weight, scheme, hessian(96), order="given", search=False))
    # a value halfway between two codes may fall to either side, and moves the values after it in its column
    same = np.isclose(found, expected, atol=1e-5)
    assert same.all(axis=0).mean() > 0.9


@pytest.mark.parametrize("scheme", EVERY, ids=lambda s: s.name)
@pytest.mark.parametrize("order", ("activation", "given"))
def test_outputs_are_closer_than_those_of_rounding_to_nearest(scheme: Grid, order: str) -> None:
    weight, h = weights(200, 60), hessian(200)
    plain = error(weight, quantize(weight, scheme), h).outputs
    searched = error(weight, quantize(weight, scheme, search=True, importance=np.diagonal(h)), h).outputs
    found = error(weight, quantize_gptq(weight, scheme, h, order=order), h).outputs
    assert found < 0.75 * min(plain, searched)


def test_it_holds_for_inputs_that_were_not_seen() -> None:
    x = correlated(4000, 128)
    seen, unseen = (part.T @ part for part in (x[:3000].astype(np.float64), x[3000:].astype(np.float64)))
    weight = weights(128, 60)
    scheme = Grouped(4, 32)
    plain = error(weight, quantize(weight, scheme, search=True), unseen).outputs
    assert error(weight, quantize_gptq(weight, scheme, seen), unseen).outputs < 0.8 * plain


def test_rounding_large_inputs_first_is_better_with_few_bits() -> None:
    weight, h = weights(256, 60), hessian(256)
    by_size, given = (
        error(weight, quantize_gptq(weight, Grouped(2, 32, False), h, order=order), h).outputs
        for order in ("activation", "given")
    )
    assert by_size < given


@pytest.mark.parametrize("scheme", EVERY, ids=lambda s: s.name)
def test_the_scales_are_those_of_rounding_to_nearest_whatever_the_order(scheme: Grid) -> None:
    weight = weights(100, 20)
    found = quantize_gptq(weight, scheme, hessian(100), search=False)
    plain = quantize(weight, scheme)
    np.testing.assert_array_equal(found.scales, plain.scales)
    assert found.codes.dtype == plain.codes.dtype
    assert found.codes.shape == plain.codes.shape


def test_uncorrelated_inputs_leave_nothing_to_make_up_for() -> None:
    weight = weights(100, 20)
    found = quantize_gptq(weight, Grouped(4, 32), np.eye(100), search=False)
    np.testing.assert_array_equal(found.codes, quantize(weight, Grouped(4, 32)).codes)


def test_inputs_that_are_always_zero_are_rounded_to_nearest() -> None:
    h = hessian(100)
    h[40:50] = h[:, 40:50] = 0
    weight = weights(100, 20)
    found = quantize_gptq(weight, Grouped(4, 32), h, search=False)
    np.testing.assert_array_equal(found.codes[40:50], quantize(weight, Grouped(4, 32)).codes[40:50])


def test_fewer_inputs_than_columns_are_enough() -> None:
    x = correlated(20, 100).astype(np.float64)
    found = error(weights(100, 20), quantize_gptq(weights(100, 20), Grouped(4, 32), x.T @ x), x.T @ x).outputs
    assert found < 0.5 * error(weights(100, 20), quantize(weights(100, 20), Grouped(4, 32)), x.T @ x).outputs


def test_a_prepared_hessian_and_other_chunks_give_the_same() -> None:
    weight, h = weights(600, 30), hessian(600)
    once = prepare(h)
    reference = quantize_gptq(weight, Grouped(4, 32), h)
    np.testing.assert_array_equal(quantize_gptq(weight, Grouped(4, 32), once).codes, reference.codes)
    other = quantize_gptq(weight, Grouped(4, 32), once, chunk=7)
    assert (other.codes == reference.codes).mean() > 0.98  # sums are taken in another order
    assert error(weight, other, h).outputs == pytest.approx(error(weight, reference, h).outputs, rel=0.01)


def test_the_factor_is_that_of_the_damped_inverse() -> None:
    h = hessian(600)
    prepared = prepare(h, damp=0.05)
    ordered = (h + 0.05 * np.diagonal(h).mean() * np.eye(600))[np.ix_(prepared.order, prepared.order)]
    upper = prepared.upper.astype(np.float64)
    assert np.array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(upper.T @ upper @ ordered, np.eye(600), atol=1e-4)
    assert (np.diff(np.diagonal(h)[prepared.order]) <= 0).all()


def test_nothing_to_calibrate_with_and_numbers_that_are_not_finite_are_errors() -> None:
    with pytest.raises(WeftError) as caught:
        quantize_gptq(weights(32, 4), Grouped(4, 32), np.zeros((32, 32)))
    assert caught.value.diagnostics[0].code == "E0815"
    with pytest.raises(WeftError, match="not finite"):
        quantize_gptq(weights(32, 4) * np.inf, Grouped(4, 32), np.eye(32))
    with pytest.raises(WeftError, match="Hessian"):
        quantize_gptq(weights(32, 4), Grouped(4, 32), np.full((32, 32), np.inf))
    with pytest.raises(ValueError, match="another size"):
        quantize_gptq(weights(32, 4), Grouped(4, 32), np.eye(16))
    with pytest.raises(ValueError, match="order"):
        prepare(np.eye(4), order="random")
