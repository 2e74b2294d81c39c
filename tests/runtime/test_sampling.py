"""What may be drawn from logits: the tokens and chances that `transformers` leaves, for any settings together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.lang.diagnostics import WeftError
from weft.runtime.sampling import GREEDY, Sampling, chances, choose, likeliest, log_chances, penalised

SIZE = 40


def theirs(logits: np.ndarray, how: Sampling, seen: list[int]) -> np.ndarray:
    """The chances [V] after the processors of `transformers`, in their order."""
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers.generation.logits_process")
    steps: list[Any] = []
    if how.repetition_penalty != 1:
        steps.append(process.RepetitionPenaltyLogitsProcessor(how.repetition_penalty))
    steps.append(process.TemperatureLogitsWarper(float(how.temperature)))
    if how.top_k is not None:
        steps.append(process.TopKLogitsWarper(how.top_k))
    if how.top_p is not None:
        steps.append(process.TopPLogitsWarper(how.top_p))
    if how.min_p is not None:
        steps.append(process.MinPLogitsWarper(how.min_p))
    scores = torch.tensor(logits)[None]
    for step in steps:
        scores = step(torch.tensor([seen], dtype=torch.int64), scores)
    return scores.softmax(-1)[0].numpy()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(0.2, 3),
    st.none() | st.integers(1, 50),
    st.none() | st.floats(0.05, 1),
    st.none() | st.floats(0, 1),
    st.sampled_from([1.0, 1.3, 0.7]),
)
def test_the_tokens_that_are_kept_are_those_of_transformers(
    seed: int, temperature: float, top_k: int | None, top_p: float | None, min_p: float | None, penalty: float
) -> None:
    draw = np.random.default_rng(seed)
    logits, seen = draw.normal(0, 3, SIZE), sorted(set(draw.integers(0, SIZE, 6).tolist()))
    how = Sampling(temperature, top_k, top_p, min_p=min_p, repetition_penalty=penalty)
    found = chances(logits, how, seen)
    assert (np.diff(found.ids) > 0).all()
    np.testing.assert_allclose(found.dense(SIZE), theirs(logits, how, seen), atol=1e-9)


def test_min_p_keeps_what_is_near_the_likeliest() -> None:
    logits = np.log([0.5, 0.25, 0.15, 0.1])
    assert chances(logits, Sampling(1.0, min_p=0.3)).ids.tolist() == [0, 1, 2]
    assert chances(logits, Sampling(1.0, min_p=1.0)).ids.tolist() == [0]
    assert chances(logits, Sampling(1.0, min_p=0.0)).ids.tolist() == [0, 1, 2, 3]


def test_a_repetition_costs_whatever_the_sign() -> None:
    how = Sampling(repetition_penalty=2.0)
    assert penalised(np.array([4.0, -4.0, 1.0]), how, {0, 1}).tolist() == [2.0, -8.0, 1.0]
    assert choose(np.array([4.0, 3.0]), how, 0, {0}) == 1
    assert choose(np.array([4.0, 3.0]), GREEDY, 0, {0}) == 0


def test_greedy_is_sure_of_one_token() -> None:
    found = chances(np.array([0.0, 2.0, 2.0]), GREEDY)
    assert found.ids.tolist() == [1] and found.of(1) == 1 and found.of(2) == 0


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_colder_the_surer(temperature: float, dtype: type) -> None:
    found = chances(np.array([1.0, 30.0, -5.0], dtype), Sampling(temperature))
    np.testing.assert_array_equal(found.dense(3), [0, 1, 0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda values: sum(values) > 0))
def test_no_token_without_a_chance_is_drawn(values: list[float]) -> None:
    from weft.runtime.sampling import Chances

    found = Chances(np.arange(len(values)), np.array(values) / sum(values))
    for point in (0.0, 0.3, 1 - 2**-53):
        assert values[found.at(point)] > 0


def test_log_probabilities_sum_to_one() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (3, 7)).astype(np.float32)
    np.testing.assert_allclose(np.exp(log_chances(logits)).sum(-1), 1)


def test_the_likeliest_come_first_and_of_equal_ones_the_lowest() -> None:
    assert likeliest(np.array([1.0, 3.0, 3.0, 0.0, 2.0]), 3).tolist() == [1, 2, 4]
    assert likeliest(np.array([1.0, 3.0]), 9).tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [{"min_p": -0.1}, {"min_p": 1.5}, {"repetition_penalty": 0.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WeftError) as caught:
        Sampling(**wrong)
    assert caught.value.diagnostics[0].code == "E0949"
