"""Logits of the last tokens only: which tokens of a step are kept, and the ambient value that says so."""

from __future__ import annotations

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size

# Of a step with rows whose entry keeps some tokens: their numbers in the step, int[B, N].
KEPT = "kept"
KEPT_SIZE = "kept"


def kept_type(batch: Axis, name: str) -> TensorType:
    """The type of the numbers of the tokens that are kept, with an axis of that name."""
    return TensorType((batch, Axis(name, Size.symbol(KEPT_SIZE))), "int")
