"""Attention of the standard library against the formulas of its papers, written out."""

from __future__ import annotations

import numpy as np
from weft.compiler.compile import compile
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
use attention: Attention, PrefixAttention, RelativeAttention, prefix
use nn: identity
use position: RoPE

model Relative(D: dim = 6, H: dim = 2) {
  attend = RelativeAttention(D, H, K = 4)
  forward(x: [B, T, D]) -> [B, T, D] { attend(x) }
}

model Prefix(D: dim = 8, H: dim = 4, G: dim = 2) {
  stream T as S
  layers = repeat 2 {
    attend = PrefixAttention(D, H, G)
    forward(x, before) { (x + attend(x, before), before + attend.read(before)) }
  }
  forward(before: [B, N, D], x: [B, T, D]) -> [B, T, D] {
    y, read = layers(x, before)
    y
  }
}

model Masked(D: dim = 8, H: dim = 4, G: dim = 2) {
  layers = repeat 2 {
    attend = Attention(D, H, G, pos = RoPE(D / H), mask = prefix(length = 3))
    forward(x) { x + attend(x) }
  }
  forward(x: [B, T, D]) -> [B, T, D] { layers(x) }
}

## A block that calls a method of its own whose axes have other names outside.
block Halves(D: dim, U: dim) {
  param weight: [D, U]
  half(x: [.., D]) -> [.., U] { dot(x, weight, D) }
  forward(x: [.., D]) -> [.., U] { half(x) + weight_sum() * half(x) }
  weight_sum() -> [U] { sum(weight, D) }
}

model Named(D: dim = 3, H: dim = 4) {
  halves = Halves(D, H)
  forward(x: [B, D]) -> [B, H] { halves(x) }
}
"""
PROGRAM = load_source(Source("blocks.llm", TEXT))


def test_relative_attention_is_transformer_xls() -> None:
    module = compile(PROGRAM, "Relative")
    w = {n.split(".", 1)[1]: v for n, v in random_weights(module).items()}
    x = np.random.default_rng(1).standard_normal((1, 7, 6))
    q, k, v = (np.einsum("btd,dhk->bthk", x, w[f"{n}.weight"]) for n in "qkv")
    distance = np.arange(7)[:, None] - np.arange(7)[None, :]
    angle = distance[..., None] * 10_000.0 ** (-np.arange(3) / 3)
    r = np.einsum("tsd,dhk->tshk", np.concatenate([np.sin(angle), np.cos(angle)], -1), w["distance"])
    scores = np.einsum("bthk,bshk->bhts", q + w["content"], k) + np.einsum("bthk,tshk->bhts", q + w["place"], r)
    scores = np.where(distance >= 0, scores / 2, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    wanted = np.einsum("bhts,bshk,hkd->btd", shares, v, w["o.weight"])
    (found,) = run(module, random_weights(module), {"x": x}).values
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_a_prefix_decoder_is_a_decoder_under_the_prefix_mask() -> None:
    apart, joined = compile(PROGRAM, "Prefix"), compile(PROGRAM, "Masked")
    weights = random_weights(joined)
    text = np.random.default_rng(2).standard_normal((2, 8, 8))
    (wanted,) = run(joined, weights, {"x": text}).values
    (found,) = run(apart, weights, {"before": text[:, :3], "x": text[:, 3:]}).values
    np.testing.assert_allclose(found, wanted[:, 3:], rtol=1e-10, atol=1e-12)


def test_a_method_called_from_its_own_instance_gives_the_names_of_the_block() -> None:
    module = compile(PROGRAM, "Named")
    weights = random_weights(module)
    x = np.random.default_rng(3).standard_normal((2, 3))
    weight = weights["halves.weight"].astype(np.float64)
    (found,) = run(module, weights, {"x": x}).values
    np.testing.assert_allclose(found, (1 + weight.sum(0)) * (x @ weight))
