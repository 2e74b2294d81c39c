"""Schedules have the values that their formulas say, at the corners and between."""

from __future__ import annotations

import math

import pytest
import small
from weft.runtime.schedule import rate

STEPS = 100


def schedule(text: str):
    return small.recipe(optim=f"adamw(lr = {text})", budget=f"{STEPS} steps").stages[0].optimizer["lr"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2e-3", {0: 2e-3, 99: 2e-3}),
        ("constant(peak = 1, warmup = 4 steps)", {0: 0.25, 3: 1.0, 4: 1.0, 99: 1.0}),
        ("cosine(peak = 1, warmup = 10 steps, floor = 0.1)", {0: 0.1, 9: 1.0, 10: 1.0, 99: 0.1}),
        ("linear(peak = 1, warmup = 9 steps)", {8: 1.0, 9: 1.0, 54: 0.5, 99: 0.0}),
        ("inverse_sqrt(peak = 1, warmup = 25 steps)", {24: 1.0, 99: 0.5}),
        ("wsd(peak = 1, warmup = 10 steps, decay = 20 steps)", {9: 1.0, 50: 1.0, 79: 1.0, 89: 0.5, 99: 0.0}),
        ("wsd(peak = 1, decay = 20 steps, shape = sqrt)", {0: 1.0, 79: 1.0, 84: 0.5, 99: 0.0}),
        ("cosine(peak = 1, warmup = 1_280 tokens)", {9: 1.0, 10: 1.0, 99: 0.0}),
    ],
)
def test_corner_steps(text: str, values: dict[int, float]) -> None:
    found = {step: rate(schedule(text), step, STEPS, 128) for step in values}
    assert found == pytest.approx(values, abs=1e-12)


def test_a_cosine_is_a_cosine() -> None:
    terms = schedule("cosine(peak = 3, warmup = 10 steps, floor = 1)")
    for step in range(10, STEPS):
        expected = 1 + 2 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 89))
        assert rate(terms, step, STEPS, 128) == pytest.approx(expected)


def test_a_run_as_short_as_its_warm_up_never_divides_by_zero() -> None:
    for text in ("cosine(peak = 1, warmup = 100 steps)", "linear(peak = 1, warmup = 100 steps)"):
        assert rate(schedule(text), 99, 100, 128) == 1.0
