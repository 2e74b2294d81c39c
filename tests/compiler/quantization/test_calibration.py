"""Moments: the same however the inputs are cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
from weft.compiler.quantization.calibration import Moments, moments
from weft.lang.diagnostics import WeftError


def drawn(M: int = 500, K: int = 24) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((M, K), dtype=np.float32) + 0.5


def fed(x: np.ndarray, batch: int, **options) -> Moments:
    found = moments(x.shape[1], rows=40, **options)
    for start in range(0, len(x), batch):
        found = found.plus(x[start : start + batch])
    return found


def test_they_are_the_moments_of_all_inputs() -> None:
    x = drawn()
    found = fed(x, 70)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(found.hessian, exact.T @ exact / 500, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.importance, np.square(exact).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.magnitude, np.abs(exact).mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found.largest, np.abs(x).max(axis=0))
    assert found.count == 500


@pytest.mark.parametrize("batch", (1, 39, 500))
def test_batches_of_any_size_give_the_same_sample_in_the_order_of_the_rows(batch: int) -> None:
    x = drawn()
    found = fed(x, batch)
    np.testing.assert_array_equal(found.sample, fed(x, 123).sample)
    numbers = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in found.sample]
    assert len(set(numbers)) == 40
    assert numbers == sorted(numbers)


def test_the_sample_is_spread_over_all_inputs_and_depends_on_the_seed() -> None:
    x = np.arange(10_000, dtype=np.float32)[:, None]
    samples = [fed(x, 1000, seed=seed).sample.ravel() for seed in range(30)]
    assert 4700 < np.mean(samples) < 5300
    assert not np.array_equal(samples[0], samples[1])
    assert len(fed(x[:12], 5).sample) == 12


def test_leading_axes_are_rows_and_an_empty_batch_is_nothing() -> None:
    x = drawn()
    one, other = moments(24).plus(x.reshape(5, 100, 24)), moments(24).plus(x).plus(x[:0])
    np.testing.assert_array_equal(one.hessian, other.hessian)
    assert one.count == other.count


def test_adding_makes_new_moments_and_leaves_the_old_ones() -> None:
    before = fed(drawn(), 100)
    kept = before.hessian.copy()
    before.plus(drawn())
    np.testing.assert_array_equal(before.hessian, kept)
    assert before.count == 500


def test_products_are_kept_in_float64_or_not_at_all() -> None:
    assert fed(drawn(), 100, dtype=np.float64).hessian.dtype == np.float64
    without = fed(drawn(), 100, products=False)
    assert without.products is None
    np.testing.assert_array_equal(without.importance, fed(drawn(), 100).importance)
    with pytest.raises(ValueError, match="not kept"):
        _ = without.hessian


def test_no_inputs_and_inputs_that_are_not_finite_are_errors() -> None:
    empty = moments(3, name="blocks.0.up")
    for ask in (lambda: empty.hessian, lambda: empty.magnitude, lambda: empty.importance):
        with pytest.raises(WeftError, match=r"blocks\.0\.up"):
            ask()
    with pytest.raises(WeftError, match=r"blocks\.0\.up"):
        empty.plus(np.array([[1, np.nan, 2]]))
