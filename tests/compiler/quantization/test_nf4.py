"""NF4: the levels of the paper and of bitsandbytes, and scales that lose little when they are quantized too."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from weft.compiler.quantization.codes import dequantized
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.nf4 import LEVELS, doubly, nearest
from weft.compiler.quantization.scheme import NF4

# bitsandbytes 0.4x, csrc/kernels.cu, dDequantizeNF4 and the thresholds of dQuantizeNF4
PUBLISHED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
THRESHOLDS = (
    -0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
    -0.13791173323988914, -0.045525018125772475, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668,
    0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011,
)  # fmt: skip


def test_the_levels_are_the_published_ones() -> None:
    np.testing.assert_array_equal(LEVELS, np.array(PUBLISHED, np.float32))


def test_the_levels_are_quantiles_of_a_normal_distribution() -> None:
    end = 0.9677083
    above = [NormalDist().inv_cdf(p) for p in np.linspace(end, 0.5, 9)[:-1]]
    below = [-NormalDist().inv_cdf(p) for p in np.linspace(end, 0.5, 8)[:-1]]
    levels = np.sort([*above, 0.0, *below])
    np.testing.assert_allclose(LEVELS, levels / levels.max(), atol=1e-6)


def test_codes_change_at_the_published_thresholds() -> None:
    values = np.linspace(-1, 1, 100_001).astype(np.float32)
    values = values[np.abs(values[:, None] - np.array(THRESHOLDS)).min(axis=1) > 1e-6]
    np.testing.assert_array_equal(nearest(values), np.searchsorted(THRESHOLDS, values))


def test_double_quantization_moves_a_scale_by_at_most_half_a_step() -> None:
    weight = np.random.default_rng(0).standard_normal((4096, 64), dtype=np.float32)
    scales = np.abs(weight.reshape(64, 64, 64)).max(axis=1)
    double = doubly(scales)
    assert double.codes.shape == (64, 64)
    assert double.steps.shape == (16,)
    steps = np.repeat(double.steps, 256).reshape(64, 64).T
    assert (np.abs(double.scales - scales) <= 0.5001 * steps).all()
    assert np.abs(double.scales / scales - 1).max() < 0.01


def test_double_quantization_costs_next_to_nothing() -> None:
    weight = np.random.default_rng(0).standard_normal((1024, 96), dtype=np.float32)
    plain, double = (
        np.square(weight - dequantized(quantize(weight, NF4(64, double)), np.float64)).mean() ** 0.5
        for double in (False, True)
    )
    assert plain == pytest.approx(0.092, abs=0.003)
    assert double == pytest.approx(plain, rel=2e-3)


def test_groups_of_zeros_beside_others_stay_zero() -> None:
    weight = np.random.default_rng(0).standard_normal((128, 3), dtype=np.float32)
    weight[64:, 1] = 0
    assert (dequantized(quantize(weight, NF4(64, True)))[64:, 1] == 0).all()
