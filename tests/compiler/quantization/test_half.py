"""16-bit floats round as PyTorch rounds them, and nothing is cut off silently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from weft.compiler.quantization.half import restored, rounded
from weft.lang.diagnostics import WeftError


def test_every_kind_of_float32_is_rounded_as_pytorch_rounds_it() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    values = bits.view(np.float32)
    for kind, dtype, largest in (("bfloat16", torch.bfloat16, 3.38e38), ("float16", torch.float16, 65519)):
        fitting = values[np.abs(values) < largest]
        expected = torch.from_numpy(fitting).to(dtype).float().numpy()
        np.testing.assert_array_equal(restored(rounded(fitting, kind), kind), expected)


@pytest.mark.parametrize(("kind", "limit"), (("float16", 65520.0), ("bfloat16", 3.3961776e38)))
def test_a_value_beyond_the_range_is_an_error_that_counts_and_gives_the_largest(kind: str, limit: float) -> None:
    weight = np.ones((600, 4), np.float32)
    weight[500, 1] = np.nextafter(np.float32(limit), np.float32(0))
    assert np.isfinite(restored(rounded(weight, kind), kind)).all()
    weight[500, 1] = weight[2, 3] = -limit
    with pytest.raises(WeftError, match="2 values") as caught:
        rounded(weight, kind)
    assert caught.value.diagnostics[0].code == "E0813"
