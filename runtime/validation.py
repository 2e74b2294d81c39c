"""Validation: the loss on text that was kept aside, beside what a model without context could reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .batches import Batch, stack, validation_row
from .tokens import Tokens

GLANCE = 1 << 14
"""About so many tokens are looked at while training."""

LOOK = 1 << 20
"""At most so many tokens are looked at when training is over."""


def unigram_entropy(validation: Sequence[Tokens]) -> float | None:
    """Entropy in nats of the distribution of single tokens in the validation text; None without any.

    No model that ignores the context can have a smaller loss on this text.
    """
    counts = np.zeros(1, np.int64)
    for tokens in validation:
        here = np.bincount(tokens.ids[1:]) if len(tokens.ids) > 1 else np.zeros(1, np.int64)
        counts = np.pad(counts, (0, max(0, len(here) - len(counts))))
        counts[: len(here)] += here
    total = counts.sum()
    if not total:
        return None
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum())


def validate(
    mean: Callable[[Batch], float], validation: Sequence[Tokens], length: int, rows_at_once: int, limit: int
) -> float:
    """The mean loss in nats per token over at most about `limit` tokens, spread evenly over the text.

    `mean` gives the mean loss of a batch of up to `rows_at_once` rows. Without a limit every label counts once.
    """
    rows = [(tokens, start) for tokens in validation for start in range(0, len(tokens.ids) - 1, length)]
    stride = max(1, math.ceil(len(rows) * length / limit))
    chosen = rows[::stride]
    total = counted = 0.0
    for start in range(0, len(chosen), rows_at_once):
        batch = stack([validation_row(*row, length) for row in chosen[start : start + rows_at_once]])
        total += mean(batch) * batch.counted
        counted += batch.counted
    return total / counted
