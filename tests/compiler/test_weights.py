"""Weights: as the initialisers say, or such that every parameter matters."""

from __future__ import annotations

import modules
import numpy as np
import pytest
from streams import compiled
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import initial_weights, random_weights
from weft.compiler.ir.module import Module

TEXT = """
use nn: Embedding, LayerNorm, Linear, MLP
model Demo(V: dim = 13, D: dim = 64) {
  embed = Embedding(V, D, init = normal(std = 0.5))
  blocks = repeat 2 {
    norm = LayerNorm(D)
    mlp = MLP(D, 4 * D, init = truncated_normal(std = 0.02))
    forward(x) { x + mlp(norm(x)) }
  }
  param gate: [D] = uniform(low = 2.0, high = 3.0)
  forward(tokens: int[B, T]) -> [B, T, D] { gate * (tokens |> embed |> blocks) }
}
"""


@pytest.fixture(scope="module")
def module() -> Module:
    return compiled(TEXT)


def test_initial_weights_follow_the_initialisers(module: Module) -> None:
    weights = dict(initial_weights(module, 3))
    assert set(weights) == {path for path, _ in module.parameters()}
    assert all(w.dtype == np.float32 for w in weights.values())
    assert weights["embed.table"].std() == pytest.approx(0.5, rel=0.1)
    assert (weights["blocks.0.norm.scale"] == 1).all() and (weights["blocks.0.norm.offset"] == 0).all()
    assert weights["gate"].min() >= 2 and weights["gate"].max() <= 3
    small = weights["blocks.1.mlp.down.weight"]
    assert np.abs(small).max() <= 2 * 0.02 + 1e-6 and 0.015 < small.std() < 0.02


def test_weights_depend_on_the_seed_and_the_path_alone(module: Module) -> None:
    first, again, other = (dict(initial_weights(module, seed)) for seed in (1, 1, 2))
    up = "blocks.{}.mlp.up.weight"
    assert (first[up.format(0)] == again[up.format(0)]).all()
    assert not (first[up.format(0)] == other[up.format(0)]).all()
    assert not (first[up.format(0)] == first[up.format(1)]).all()


def test_under_random_weights_every_parameter_matters(module: Module) -> None:
    weights, tokens = random_weights(module, 0), np.arange(12).reshape(2, 6) % 13
    whole = run(module, weights, {"tokens": tokens}).values[0]
    assert 0.1 < whole.std() < 30
    for path in weights:
        changed = {**weights, path: weights[path] * np.float32(1.1)}
        found = run(module, changed, {"tokens": tokens}).values[0]
        assert np.abs(found - whole).max() > 1e-4, path


def test_the_small_set_scales_the_tables_alone() -> None:
    module = modules.decoder()
    normal, small = random_weights(module, 0), random_weights(module, 0, scale=0.01)
    np.testing.assert_allclose(small["embed.table"], 0.01 * normal["embed.table"], rtol=1e-6)
    assert all((small[p] == normal[p]).all() for p in normal if p != "embed.table")
