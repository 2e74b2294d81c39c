"""Mixtures of experts of the standard library against the formulas of their papers, written out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from weft.compiler.compile import compile
from weft.compiler.emit.reference import Outputs, run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.passes.inference import drop_penalties
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
use moe: Capped, MoE, SparseMixer, TopK, balanced
use models.gemma3n: quantile

model Grouped(D: dim = 5, E: dim = 8) {
  router = balanced(D, E, top = 3, scaling = 2.5, groups = 4, kept = 2)
  forward(x: [B, D]) -> [B, E] { router(x) }
}

model Plain(D: dim = 5, E: dim = 8) {
  router = TopK(D, E, top = 3, normalised = false)
  forward(x: [B, D]) -> [B, E] { router(x) }
}

model Mixer(D: dim = 5, E: dim = 8) {
  router = SparseMixer(D, E, jitter = 0.2)
  forward(x: [B, D]) -> [B, E] { router(x) }
}

model Full(D: dim = 5, E: dim = 3) {
  router = Capped(D, E, TopK(D, E, top = 2), capacity = 2)
  forward(x: [B, T, D]) -> [B, T, E] { router(x) }
}

model Two(D: dim = 4, F: dim = 6) {
  blocks = repeat 2 {
    one = MoE(D, F, E = 3, top = 1)
    two = MoE(D, F, E = 3, top = 2)
    forward(x) { x + one(x) + two(x) }
  }
  forward(x: [B, D]) -> [B, D] { blocks(x) }
}

model Early(D: dim = 4, F: dim = 6) {
  mix = MoE(D, F, E = 3, top = 1, early = true)
  forward(x: [B, D]) -> [B, D] { mix(x) }
}

model Quantile(D: dim = 1) {
  forward(x: [B, D]) -> [B, D] { x + quantile(0.95) }
}
"""
PROGRAM = load_source(Source("experts.llm", TEXT))
Array = NDArray[np.float64]


def compiled(name: str) -> Module:
    return compile(PROGRAM, name)


def ran(name: str, *shape: int) -> tuple[Outputs, Array, dict[str, Array]]:
    """What a model makes of random tokens, the tokens, and its weights."""
    module = compiled(name)
    weights = random_weights(module, 3)
    x = np.random.default_rng(1).standard_normal(shape)
    return run(module, weights, {"x": x}), x, weights


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def highest(x: Array, count: int) -> list[int]:
    return sorted(range(len(x)), key=lambda i: -x[i])[:count]


def test_a_group_is_worth_its_two_best_and_offsets_only_choose() -> None:
    found, x, weights = ran("Grouped", 20, 5)
    scores = sigmoid(x @ weights["router.weight"])
    wanted = scores + weights["router.correct"]
    for row in range(20):
        groups = wanted[row].reshape(4, 2)
        kept = highest(groups.sum(-1), 2)
        allowed = [e for e in range(8) if e // 2 in kept]
        chosen = [allowed[i] for i in highest(wanted[row][allowed], 3)]
        share = np.zeros(8)
        share[chosen] = 2.5 * scores[row][chosen] / scores[row][chosen].sum()
        np.testing.assert_allclose(found.values[0][row], share, rtol=1e-12)


def test_weights_may_stay_what_the_softmax_over_all_gave() -> None:
    found, x, weights = ran("Plain", 20, 5)
    shares = softmax(x @ weights["router.weight"])
    for row in range(20):
        chosen = highest(shares[row], 3)
        np.testing.assert_allclose(found.values[0][row][chosen], shares[row][chosen], rtol=1e-12)
        assert np.count_nonzero(found.values[0][row]) == 3


def test_the_sparse_mixer_weighs_each_choice_among_its_near_rivals() -> None:
    found, x, weights = ran("Mixer", 20, 5)
    for row, scores in enumerate(x @ weights["router.weight"]):
        share, left = np.zeros(8), list(range(8))
        for _ in range(2):
            top = max(scores[left])
            near = [e for e in left if (top - scores[e]) / max(abs(scores[e]), top) <= 0.4]
            best = left[int(np.argmax(scores[left]))]
            share[best] = np.exp(scores[best]) / np.exp(scores[near]).sum()
            left.remove(best)
        np.testing.assert_allclose(found.values[0][row], share, rtol=1e-12)


def test_an_expert_takes_the_first_tokens_that_chose_it_and_no_more() -> None:
    found, _, weights = ran("Full", 2, 9, 5)
    x = np.random.default_rng(1).standard_normal((2, 9, 5))
    shares = softmax(x @ weights["router.inner.weight"])
    for row in range(2):
        taken = [0, 0, 0]
        for place in range(9):
            chosen = highest(shares[row, place], 2)
            share = np.zeros(3)
            for e in chosen:
                taken[e] += 1
                if taken[e] <= 2:
                    share[e] = shares[row, place, e] / shares[row, place][chosen].sum()
            np.testing.assert_allclose(found.values[0][row, place], share, rtol=1e-12)
        assert max(taken) > 2  # the limit was reached


def test_weights_may_scale_what_experts_get_instead_of_what_they_give() -> None:
    found, x, weights = ran("Early", 6, 4)
    w = {name.removeprefix("mix."): value for name, value in weights.items()}
    for row in range(6):
        logits = x[row] @ w["router.weight"]
        best = int(np.argmax(logits))
        y = x[row] * 1.0  # the weight of the only one chosen
        gate, up = y @ w["experts.gate.weight"][best], y @ w["experts.up.weight"][best]
        wanted = (gate * sigmoid(gate) * up) @ w["experts.down.weight"][best]
        np.testing.assert_allclose(found.values[0][row], wanted, rtol=1e-9)


def test_penalties_of_two_mixtures_in_a_layer_add_up_and_can_be_dropped() -> None:
    module = compiled("Two")
    assert [n for n in module.main.outputs if n.startswith("penalty.")] == ["penalty.balance", "penalty.router_z"]
    bare = drop_penalties(module)
    assert bare.main.outputs == ("value",)
    weights, x = random_weights(module, 3), np.ones((2, 4))
    full = run(module, weights, {"x": x}).values[0]
    np.testing.assert_array_equal(run(bare, weights, {"x": x}).values[0], full)


@pytest.mark.parametrize(("share", "wanted"), [(0.95, 1.6448536269514722)])
def test_the_quantile_of_the_normal_distribution_is_found(share: float, wanted: float) -> None:
    found = run(compiled("Quantile"), {}, {"x": np.zeros((1, 1))}).values[0]
    assert found[0, 0] == pytest.approx(wanted, rel=1e-12)
