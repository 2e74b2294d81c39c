"""Blocks that mix tokens through every back end: PyTorch and ONNX Runtime, whole, cached, padded and packed."""

from __future__ import annotations

import onnxruntime
import pytest
from weft.runtime.verify import verify

from .streams import MIXERS, mixing

onnxruntime.set_default_logger_severity(3)
# The others run in the tests of the emitters.
HERE = (
    "reductions of what was", "the best of what was", "a convolution of what is near", "a delta rule with gates",
    "a matrix memory with a stabiliser", "a selective state with a convolution", "states of several kinds",
    "capped scores of normed heads", "a sink for each head", "two maps and vectors of distances",
    "features that stand for softmax",
)


@pytest.mark.parametrize("name", HERE)
def test_every_back_end_and_form_agrees(name: str) -> None:
    failed = [c for c in verify(mixing(MIXERS[name]), weight_sets=1, bfloat16=False) if not c.passed]
    assert not failed, failed
