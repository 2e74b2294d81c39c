"""The recurrences of the standard library against the closed forms of their papers, and through every back end."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.runtime.verify import verify

from .streams import compiled

Array = NDArray[Any]
T, D, H = 9, 8, 2
K = D // H

onnxruntime.set_default_logger_severity(3)


def block(made: str, uses: str) -> tuple[Any, Array, Array, dict[str, Array]]:
    """A model of one block, an input [T, D] drawn at random, what the block makes of it, and its weights."""
    module = compiled(
        f"use recurrent: {uses}\nuse position: RoPE\nuse nn: identity, relu\n"
        f"model Demo(D: dim = {D}) {{\n  stream T as S\n  mix = {made}\n"
        f"  forward(x: [B, T, D]) -> [B, T, D] {{ mix(x) }}\n}}"
    )
    draw = np.random.default_rng(4)
    weights = {n: draw.normal(size=w.shape) / 2 for n, w in random_weights(module, 3).items()}
    x = draw.normal(size=(1, T, D))
    return module, x[0], run(module, weights, {"x": x}).values[0][0], {n[4:]: w for n, w in weights.items()}


def heads(x: Array, weight: Array) -> Array:
    """[T, D] through a map to heads, [H, T, K]."""
    return np.einsum("td,dhk->htk", x, weight)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def unit(x: Array) -> Array:
    return x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)


def filtered(x: Array, weight: Array) -> Array:
    """A filter for each channel over the last entries of [H, T, K], then silu."""
    width = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (width - 1, 0), (0, 0)))
    y = sum(padded[:, w : w + T] * weight[:, None, :, w] for w in range(width))
    return y * sigmoid(y)


def test_linear_attention_is_attention_with_another_kernel() -> None:
    _, x, found, w = block(f"LinearAttention(D, {H})", "LinearAttention")
    def feature(y: Array) -> Array:
        return np.where(y > 0, y + 1, np.exp(np.minimum(y, 0)))
    scores = np.tril(feature(heads(x, w["q.weight"])) @ feature(heads(x, w["k.weight"])).transpose(0, 2, 1))
    y = scores @ heads(x, w["v.weight"]) / (scores.sum(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found, np.einsum("htk,hkd->td", y, w["o.weight"]), atol=1e-12)


def test_retention_is_decayed_attention_without_softmax() -> None:
    _, x, found, w = block(f"Retention(D, {H}, pos = identity)", "Retention")
    decay = 1 - 2.0 ** (-5 - np.arange(H))
    ago = np.arange(T)[:, None] - np.arange(T)
    mask = np.where(ago >= 0, decay[:, None, None] ** np.maximum(ago, 0), 0)
    scores = heads(x, w["q.weight"]) @ heads(x, w["k.weight"]).transpose(0, 2, 1) / np.sqrt(K)
    y = (scores * mask) @ heads(x, w["v.weight"])
    gate = heads(x, w["g.weight"])
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * gate * sigmoid(gate)
    np.testing.assert_allclose(found, np.einsum("htk,hkd->td", y, w["o.weight"]), atol=1e-12)


def test_lightning_attention_decays_by_the_slopes_of_alibi() -> None:
    _, x, found, w = block(f"LightningAttention(D, {H}, slope = 0.5, act = identity)", "LightningAttention")
    ago = np.arange(T)[:, None] - np.arange(T)
    slope = 0.5 * 2.0 ** (-8 * (np.arange(H) + 1) / H)
    mask = np.where(ago >= 0, np.exp(-slope[:, None, None] * np.maximum(ago, 0)), 0)
    y = heads(x, w["q.weight"]) @ heads(x, w["k.weight"]).transpose(0, 2, 1) * mask @ heads(x, w["v.weight"])
    y = sigmoid(heads(x, w["g.weight"])) * y / np.sqrt((y**2).mean((0, 2))[None, :, None] + 1e-6) * w["scale"][:, None]
    np.testing.assert_allclose(found, np.einsum("htk,hkd->td", y, w["o.weight"]), atol=1e-12)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_a_gated_delta_net_forgets_along_keys(gain: float) -> None:
    """Each step multiplies the state by keep (1 - rate k k') and adds rate k v, as matrices."""
    _, x, found, w = block(f"GatedDeltaNet(D, {H}, gain = {gain})", "GatedDeltaNet")
    q = unit(filtered(heads(x, w["q.weight"]), w["conv_q.weight"])) / np.sqrt(K)
    k = unit(filtered(heads(x, w["k.weight"]), w["conv_k.weight"]))
    v = filtered(heads(x, w["v.weight"][:, :, 0]), w["conv_v.weight"][:, 0])
    rate = gain * sigmoid(x @ w["rate.weight"][..., 0])
    keep = np.exp(-np.exp(w["a_log"][:, 0]) * softplus(x @ w["dt.weight"][..., 0] + w["dt_bias"][:, 0]))
    y = np.zeros((H, T, K))
    for h in range(H):
        state = np.zeros((K, K))
        for t in range(T):
            forget = np.eye(K) - rate[t, h] * np.outer(k[h, t], k[h, t])
            state = keep[t, h] * forget @ state + rate[t, h] * np.outer(k[h, t], v[h, t])
            y[h, t] = q[h, t] @ state
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6) * w["norm.scale"]
    gate = heads(x, w["z.weight"][:, :, 0])
    y = y * gate * sigmoid(gate)
    np.testing.assert_allclose(found, np.einsum("htk,hkd->td", y, w["out.weight"][:, 0]), atol=1e-12)


def test_a_selective_state_space_is_a_sum_over_what_was_written() -> None:
    _, x, found, w = block("Mamba(D, 6, 3, 2)", "Mamba")
    padded = np.pad(x @ w["x.weight"], ((3, 0), (0, 0)))
    u = sum(padded[i : i + T] * w["conv.weight"][:, i] for i in range(4)) + w["conv.offset"]
    u = u * sigmoid(u)
    step = softplus(u @ w["dt_down.weight"] @ w["dt_up.weight"] + w["dt_bias"])
    write, read, total = u @ w["b.weight"], u @ w["c.weight"], np.cumsum(step, 0)
    y = np.zeros_like(u)
    for t in range(T):
        for s in range(t + 1):
            kept = np.exp(-np.exp(w["a_log"]) * (total[t] - total[s])[:, None])
            y[t] += (kept * (step[s] * u[s])[:, None] * write[s]) @ read[t]
    gate = x @ w["z.weight"]
    wanted = ((y + w["skip"] * u) * gate * sigmoid(gate)) @ w["out.weight"]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_weighted_mean_that_would_overflow_does_not() -> None:
    """Weights exp(k) of the fourth RWKV are held against a running maximum."""
    module, x, _, w = block("WKV(D)", "WKV")
    far: dict[str, Array] = {f"mix.{n}": v for n, v in w.items()} | {"mix.k.weight": w["k.weight"] * 1e4}
    found = run(module, far, {"x": x[None]}).values[0][0]
    assert np.isfinite(found).all()
    before = np.vstack([np.zeros(D), x[:-1]])
    k, v, r = ((before + w[f"mix_{n}.mix"] * (x - before)) @ w[f"{n}.weight"] for n in "kvr")
    plain = run(module, {f"mix.{n}": value for n, value in w.items()}, {"x": x[None]}).values[0][0]
    wanted = np.zeros_like(v)
    for t in range(T):
        scores = np.array([k[s] - np.exp(w["decay"]) * (t - s - 1) for s in range(t)] + [k[t] + w["bonus"]])
        wanted[t] = (np.exp(scores) * v[: t + 1]).sum(0) / np.exp(scores).sum(0)
    np.testing.assert_allclose(plain, (sigmoid(r) * wanted) @ w["o.weight"], atol=1e-12)


def test_the_sixth_rwkv_decays_by_what_it_reads() -> None:
    _, x, found, w = block(f"TimeMix(D, {H}, A = 3, B = 5)", "TimeMix")
    before = np.vstack([np.zeros(D), x[:-1]])
    blend = x + (before - x) * w["mix"]
    def mixed(n: str) -> Array:
        share = w[f"mix_{n}.mix"] + np.tanh(blend @ w[f"mix_{n}.down.weight"]) @ w[f"mix_{n}.up.weight"]
        return x + (before - x) * share
    r, k, v, g = (heads(mixed(n), w[f"{n}.weight"]) for n in "rkvg")
    rate = np.exp(w["decay"][:, None] + heads(np.tanh(mixed("w") @ w["w_down.weight"]), w["w_up.weight"]))
    gone = np.cumsum(rate, 1)
    y = np.zeros((H, T, K))
    for t in range(T):
        for s in range(t + 1):
            kept = w["bonus"] if s == t else np.exp(-(gone[:, t] - rate[:, t] - gone[:, s]))
            y[:, t] += (r[:, t] * kept * k[:, s]).sum(-1, keepdims=True) * v[:, s]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 64e-5)
    y = (y * w["scale"][:, None] + w["offset"][:, None]) * g * sigmoid(g)
    np.testing.assert_allclose(found, np.einsum("htk,hkd->td", y, w["o.weight"]), atol=1e-12)


MADE = ("Retention(D, 2)", "LinearAttention(D, 2)", "TimeMix(D, 2, A = 3, B = 5)", "RGLRU(D, 2)")


@pytest.mark.parametrize("made", MADE)
def test_every_back_end_and_form_agrees(made: str) -> None:
    """Those that no family of the zoo goes through; the gated unit for its first token."""
    module = compiled(
        f"use recurrent: {made.split('(')[0]}\nuse nn: Embedding\nmodel Demo(V: dim = 13, D: dim = {D}) {{\n"
        f"  stream T as S\n  embed = Embedding(V, D)\n  mix = {made}\n"
        f"  forward(tokens: int[B, T]) -> [B, T, V] {{ embed.logits(mix(embed(tokens))) }}\n}}"
    )
    failed = [c for c in verify(module, weight_sets=1, bfloat16=False) if not c.passed]
    assert not failed, failed
