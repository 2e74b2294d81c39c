"""AWQ, SmoothQuant and LLM.int8(): what moves or takes out large inputs."""

from __future__ import annotations

import numpy as np
import pytest
from weft.compiler.quantization.awq import awq_scales
from weft.compiler.quantization.codes import dequantized
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.outliers import split_outliers
from weft.compiler.quantization.scheme import Grouped, PerColumn
from weft.compiler.quantization.smooth import smooth_scales


def inputs(M: int = 300, K: int = 128, seed: int = 0) -> np.ndarray:
    """Normal, but for a few columns that are thirty times larger."""
    x = np.random.default_rng(seed).standard_normal((M, K), dtype=np.float32)
    x[:, [7, 40, 101]] *= 30
    return x


def weights(N: int, K: int = 128, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((K, N), dtype=np.float32)


def output_error(x: np.ndarray, weight: np.ndarray, stand_in: np.ndarray) -> float:
    return float(np.linalg.norm(x @ (weight - stand_in)) / np.linalg.norm(x @ weight))


def scaled(weight: np.ndarray, scale: np.ndarray, scheme: Grouped) -> np.ndarray:
    return dequantized(quantize(scale[:, None] * weight, scheme)) / scale[:, None]


def int8_inputs(x: np.ndarray) -> np.ndarray:
    """Inputs as dynamic quantization sees them: one scale for the whole tensor."""
    step = np.abs(x).max() / 127
    return np.rint(x / step) * step


@pytest.mark.parametrize("scheme", (Grouped(4, 32), Grouped(4, 128, False), Grouped(2, 32, False)), ids=str)
def test_awq_lowers_the_error_where_some_inputs_are_large(scheme: Grouped) -> None:
    x, several = inputs(), [weights(40), weights(24, seed=2)]
    scale = awq_scales(several, np.abs(x).mean(axis=0), x, scheme)
    assert scale[7] > 2 * np.median(scale)
    unseen = inputs(seed=5)
    for weight in several:
        plain = output_error(unseen, weight, dequantized(quantize(weight, scheme)))
        assert output_error(unseen, weight, scaled(weight, scale, scheme)) < 0.85 * plain


@pytest.mark.parametrize("seed", range(5))
def test_awq_is_never_worse_than_plain_rounding_on_its_sample(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((60, 64), dtype=np.float32)
    weight = weights(40, 64, seed + 10)
    scale = awq_scales([weight], np.abs(x).mean(axis=0), x, Grouped(4, 32))
    plain = output_error(x, weight, dequantized(quantize(weight, Grouped(4, 32))))
    assert output_error(x, weight, scaled(weight, scale, Grouped(4, 32))) <= plain * (1 + 1e-5)


def test_awq_looks_at_some_columns_of_wide_matrices() -> None:
    x, weight = inputs(), weights(600)
    scheme = Grouped(4, 32)
    scale = awq_scales([weight], np.abs(x).mean(axis=0), x, scheme, columns=50)
    np.testing.assert_array_equal(scale, awq_scales([weight[:, ::12]], np.abs(x).mean(axis=0), x, scheme))
    plain = output_error(x, weight, dequantized(quantize(weight, scheme)))
    assert output_error(x, weight, scaled(weight, scale, scheme)) < 0.8 * plain


def test_awq_takes_inputs_that_are_always_zero() -> None:
    x = inputs()
    x[:, 3] = 0
    scale = awq_scales([weights(20)], np.abs(x).mean(axis=0), x, Grouped(4, 32))
    assert np.isfinite(scale).all()
    assert (scale > 0).all()


def test_smoothing_by_halves_makes_inputs_and_weights_equally_wide() -> None:
    x, several = inputs(), [weights(40), 3 * weights(24, seed=2)]
    scale = smooth_scales(np.abs(x).max(axis=0), several, alpha=0.5)
    wide = np.max([np.abs(scale[:, None] * w).max(axis=1) for w in several], axis=0)
    np.testing.assert_allclose(np.abs(x / scale).max(axis=0), wide, rtol=1e-5)


def test_alpha_says_who_bears_the_range() -> None:
    x, weight = inputs(), weights(40)
    all_of_it, none = (smooth_scales(np.abs(x).max(axis=0), [weight], alpha) for alpha in (1.0, 0.0))
    np.testing.assert_allclose(np.abs(x / all_of_it).max(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(np.abs(none[:, None] * weight).max(axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="alpha"):
        smooth_scales(np.ones(128), [weight], 1.5)


def test_smoothing_keeps_the_outputs_of_int8_products_close() -> None:
    x, weight = inputs(), weights(40)
    scale = smooth_scales(np.abs(x).max(axis=0), [weight])
    exact = x @ weight
    plain = int8_inputs(x) @ dequantized(quantize(weight, PerColumn()))
    smooth = int8_inputs(x / scale) @ dequantized(quantize(scale[:, None] * weight, PerColumn()))
    assert np.linalg.norm(smooth - exact) < 0.5 * np.linalg.norm(plain - exact)


def test_smoothing_leaves_dead_inputs_and_dead_rows_alone() -> None:
    weight, largest = weights(40), np.ones(128)
    weight[5], largest[9] = 0, 0
    scale = smooth_scales(largest, [weight])
    assert scale[5] == scale[9] == 1


def test_outliers_are_taken_out_of_the_int8_part() -> None:
    x, weight = inputs(), weights(40)
    split = split_outliers(weight, np.abs(x).max(axis=0), threshold=6)
    np.testing.assert_array_equal(split.columns, [7, 40, 101])
    np.testing.assert_array_equal(split.part, weight[split.columns])
    assert (split.rest.codes[split.columns] == 0).all()
    assert split.scheme.columns == (7, 40, 101)
    assert split.scheme.name == "int8(outliers = 3)"
    kept = x.copy()
    kept[:, split.columns] = 0
    found = x[:, split.columns] @ split.part + int8_inputs(kept) @ dequantized(split.rest)
    plain = int8_inputs(x) @ dequantized(quantize(weight, PerColumn()))
    exact = x @ weight
    assert np.linalg.norm(found - exact) < 0.2 * np.linalg.norm(plain - exact)
    np.testing.assert_array_equal(weight, weights(40))


def test_without_outliers_all_is_int8() -> None:
    weight = weights(40)
    split = split_outliers(weight, np.ones(128))
    assert len(split.columns) == 0
    np.testing.assert_array_equal(split.rest.codes, quantize(weight, PerColumn()).codes)
