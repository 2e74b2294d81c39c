"""Parts of the standard library against their definitions, spelled out in NumPy or computed by other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from weft.compiler.context import longest_context
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module

from .streams import compiled
from .torch_support import float64, network

Array = NDArray[Any]
GENERATOR = np.random.default_rng(5)


def model(members: str, body: str, uses: str = "", before: str = "", width: int = 8) -> Module:
    """A model of x: [B, T, D] whose forward is `body`."""
    return compiled(
        f"{uses}\n{before}\nmodel Demo(D: dim = {width}) {{\n  stream T as S\n{members}\n"
        f"  forward(x: [B, T, D]) -> [B, T, D] {{\n{body}\n  }}\n}}"
    )


def outcome(module: Module, **inputs: Array) -> tuple[Array, dict[str, Array]]:
    weights = {n: np.asarray(w, np.float64) for n, w in random_weights(module, 3).items()}
    return run(module, weights, inputs).values[0], weights


# ------------------------------------------------------------------ rotations

# Radians per token, and the gain, as transformers 5.23 computes them (float32) for heads of 16.
FREQUENCIES = {
    "interpolated(factor = 4.0)": (
        1e4, "", [0.25, 0.07905694, 0.025, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-05],
    ),
    "llama3_scaled(factor = 8.0, low = 1.0, high = 4.0, context = 8192)": (
        5e5, "",
        [1.0, 0.1939228, 0.03760603, 0.007292665, 0.000524846, 3.428102e-05, 6.64787e-06, 1.289173e-06],
    ),
    "yarn_scaled(theta = 1e4, factor = 4.0, context = 2048)": (
        1e4, "", [1.0, 0.3162278, 0.1, 0.02569351, 0.00625, 0.001383497, 0.00025, 7.905695e-05],
    ),
    "yarn_scaled(theta = 1.5e5, factor = 32.0, context = 4096, whole = false)": (
        1.5e5, "", [1.0, 0.225418, 0.05081327, 0.006794959, 0.0004564839, 1.818834e-05, 4.099978e-06, 9.24209e-07],
    ),
    "longrope_scaled(short = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7), long = (2.0, 3.0))": (
        1e4, "", [1.0, 0.2874798, 0.08333334, 0.02432521, 0.007142857, 0.002108185, 0.000625, 0.0001860163],
    ),
    "fastest(share = 0.25)": (1e4, "", [1.0, 0.3162278, 0, 0, 0, 0, 0, 0]),
    "ntk_scaled(factor = 4.0)": (1e4, "", [(1e4 * 4 ** (16 / 14)) ** (-j / 8) for j in range(8)]),
    "identity": (1e4, ", P = D / 2", [1.0, 0.1, 0.01, 0.001]),
}
USES = (
    "use position: RoPE, interpolated, llama3_scaled, yarn_scaled, longrope_scaled, fastest, ntk_scaled\n"
    "use nn: identity"
)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("scaling", FREQUENCIES)
def test_a_rotation_turns_each_pair_at_its_frequency(scaling: str, pairs: bool) -> None:
    theta, more, frequencies = FREQUENCIES[scaling]
    word = "true" if pairs else "false"
    text = f"  turn = RoPE(D, {theta}, scaling = {scaling}{more}, pairs = {word}, gain = 1.25)"
    x = GENERATOR.normal(size=(2, 40, 16))
    found, _ = outcome(model(text, "    turn(x)", USES, width=16), x=x)
    count = 2 * len(frequencies)
    angle = np.arange(40)[:, None] * np.asarray(frequencies)
    turned = x[..., :count]
    a, b = (turned[..., ::2], turned[..., 1::2]) if pairs else np.split(turned, 2, axis=-1)
    first, second = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    whole = np.stack([first, second], -1).reshape(turned.shape) if pairs else np.concatenate([first, second], -1)
    np.testing.assert_allclose(found, np.concatenate([1.25 * whole, x[..., count:]], -1), atol=3e-5)


def test_a_table_of_positions_with_rows_for_none_ends_earlier() -> None:
    module = model("  add = LearnedPositions(40, D, offset = 2)", "    add(x)", "use position: LearnedPositions")
    assert longest_context(module) == 40
    found, weights = outcome(module, x=np.zeros((1, 5, 8)))
    (table,) = weights.values()
    np.testing.assert_array_equal(found[0], table[2:7])


def test_waves_in_turns_and_inclusive() -> None:
    module = model(
        "  add = SinusoidalPositions(D, interleaved = true, inclusive = true, offset = 2)", "    add(x)",
        "use position: SinusoidalPositions",
    )
    found, _ = outcome(module, x=np.zeros((1, 5, 8)))
    angle = (np.arange(5)[:, None] + 2) * 1e4 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(found[0, :, ::2], np.sin(angle), atol=1e-12)
    np.testing.assert_allclose(found[0, :, 1::2], np.cos(angle), atol=1e-12)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (4, [0.25, 0.0625, 0.015625, 0.00390625]),
        (6, [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]),  # transformers' build_alibi_tensor of BLOOM
    ],
)
def test_linear_biases_for_any_number_of_heads(heads: int, slopes: list[float]) -> None:
    text = f"use position: ALiBi\nmodel Demo(G: dim = {heads}) {{\n  bias = ALiBi(G)\n"
    module = compiled(text + "  forward(q: int[T], k: int[S]) -> [G, T, S] { bias(q, k) }\n}")
    found = run(module, {}, {"q": np.arange(4), "k": np.arange(5)}).values[0]
    np.testing.assert_allclose(found[:, 3, 4], slopes, rtol=1e-12)
    np.testing.assert_allclose(found[:, 3, 1], [-2 * s for s in slopes], rtol=1e-12)


# ------------------------------------------------------------------ masks

MASKS = {
    "prefix(length = 3)": lambda q, k: k <= q or k < 3,
    "around(before = 2, after = 1)": lambda q, k: -1 <= q - k <= 2,
    "window_and_first(width = 3, first = 2)": lambda q, k: k <= q and (k < 2 or q - k < 3),
    "chunked(width = 4)": lambda q, k: k <= q and q // 4 == k // 4,
    "strided(stride = 3)": lambda q, k: k <= q and (q - k < 3 or (q - k) % 3 == 0),
    "summarised(stride = 4, summary = 2)": lambda q, k: k <= q and (q // 4 == k // 4 or k % 4 >= 2),
    "parallel_windows(width = 3, count = 2)": lambda q, k: k <= q and (q >= 6 or q // 3 == k // 3),
}


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_is_what_it_says(mask: str) -> None:
    name = mask.split("(")[0]
    module = compiled(
        f"use attention: Mask, {name}\nblock See(mask: Mask) {{\n"
        "  forward(q: int[T], k: int[S]) -> bool[T, S] { mask(q, k) }\n}\n"
        f"model Demo(D: dim = 1) {{\n  see = See({mask})\n"
        "  forward(q: int[T], k: int[S]) -> bool[T, S] { see(q, k) }\n}"
    )
    found = run(module, {}, {"q": np.arange(11), "k": np.arange(11)}).values[0]
    assert found.tolist() == [[MASKS[mask](q, k) for k in range(11)] for q in range(11)]


# ------------------------------------------------------------------ attention


def softmax(scores: Array) -> Array:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def projected(weights: dict[str, Array], name: str, x: Array) -> Array:
    return np.tensordot(x, weights[f"{name}.weight"], 1)


@pytest.mark.parametrize("kind", ["sinks = true", "cap = 0.7"])
def test_attention_with_sinks_or_capped_scores(kind: str) -> None:
    module = model(f"  attn = Attention(D, 4, 2, {kind}, scale = 2.0)", "    attn(x)", "use attention: Attention")
    weights = {n: GENERATOR.normal(size=w.shape) * 0.5 for n, w in random_weights(module, 3).items()}
    x = GENERATOR.normal(size=(2, 6, 8))
    found = run(module, weights, {"x": x}).values[0]
    q, k, v = (projected(weights, f"attn.{n}", x) for n in "qkv")  # [B, T, G, R, K] and [B, S, G, K]
    scores = np.einsum("btgrk,bsgk->bgrts", q, k) * 2.0
    if "cap" in kind:
        scores = 0.7 * np.tanh(scores / 0.7)
    scores = np.where(np.tri(6, dtype=bool), scores, -np.inf)
    if "sinks" in kind:
        sink = np.broadcast_to(weights["attn.sink"][None, :, :, None, None], (*scores.shape[:-1], 1))
        shares = softmax(np.concatenate([scores, sink], -1))[..., :-1]
    else:
        shares = softmax(scores)
    mixed = np.einsum("bgrts,bsgk->btgrk", shares, v)
    np.testing.assert_allclose(found, np.tensordot(mixed, weights["attn.o.weight"], 3), atol=1e-12)


def test_shaw_attention_adds_a_vector_per_distance() -> None:
    module = model("  attn = ShawAttention(D, 2, reach = 2)", "    attn(x)", "use attention: ShawAttention")
    weights = {n: GENERATOR.normal(size=w.shape) for n, w in random_weights(module, 3).items()}
    x = GENERATOR.normal(size=(1, 6, 8))
    found = run(module, weights, {"x": x}).values[0][0]
    q, k, v = (projected(weights, f"attn.{n}", x)[0] for n in "qkv")
    mixed = np.zeros((6, 2, 4))
    for h in range(2):
        for t in range(6):
            far = [max(s - t, -2) + 2 for s in range(t + 1)]
            keys = k[: t + 1, h] + weights["attn.near_keys"][far]
            mixed[t, h] = softmax(keys @ q[t, h] / 2) @ (v[: t + 1, h] + weights["attn.near_values"][far])
    np.testing.assert_allclose(found, np.tensordot(mixed, weights["attn.o.weight"], 2), atol=1e-12)


def test_differential_attention_subtracts_a_second_map() -> None:
    uses = "use attention: DifferentialAttention"
    module = model("  attn = DifferentialAttention(D, 2, layer = 3)", "    attn(x)", uses)
    weights = {n: GENERATOR.normal(size=w.shape) * 0.5 for n, w in random_weights(module, 3).items()}
    x = GENERATOR.normal(size=(1, 6, 8))
    found = run(module, weights, {"x": x}).values[0][0]
    q1, q2, k1, k2, v = (projected(weights, f"attn.{n}", x)[0] for n in ("q1", "q2", "k1", "k2", "v"))
    start = 0.8 - 0.6 * np.exp(-0.3 * 3)
    lengths = [weights[f"attn.q{i}_share"] @ weights[f"attn.k{i}_share"] for i in (1, 2)]
    share = np.exp(lengths[0]) - np.exp(lengths[1]) + start
    maps = []
    for q, k in ((q1, k1), (q2, k2)):
        scores = np.einsum("tgrk,sgk->grts", q, k) / np.sqrt(2)
        maps.append(softmax(np.where(np.tri(6, dtype=bool), scores, -np.inf)))
    y = np.einsum("grts,sgu->tgru", maps[0] - share * maps[1], v)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * weights["attn.norm.scale"] * (1 - start)
    np.testing.assert_allclose(found, np.tensordot(y, weights["attn.o.weight"], 3), atol=1e-12)


def test_many_random_features_are_nearly_softmax() -> None:
    module = model("  attn = Performer(D, 2, M = 20_000)", "    attn(x)", "use recurrent: Performer")
    weights = {n: GENERATOR.normal(size=w.shape) for n, w in random_weights(module, 3).items()}
    x = 0.3 * GENERATOR.normal(size=(1, 6, 8))
    found = run(module, weights, {"x": x}).values[0][0]
    q, k, v = (projected(weights, f"attn.{n}", x)[0] for n in "qkv")
    scores = np.where(np.tri(6, dtype=bool), np.einsum("thk,shk->hts", q, k) / 2, -np.inf)
    wanted = np.tensordot(np.einsum("hts,shu->thu", softmax(scores), v), weights["attn.o.weight"], 2)
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_gradients_are_finite_where_a_row_sees_nothing() -> None:
    before = "fn before(q: int[T], k: int[S]) -> bool[T, S] { k < q }"
    module = model(
        "  one = Attention(D, 4, 2, mask = before, sinks = true)\n  two = Attention(D, 4, 2, mask = before, cap = 2.0)",
        "    past = rename(x, T -> S)\n    seen = position(S) < position(T)\n"
        "    one(x) + two(x) + max(past, S where seen) + mean(past, S where seen) + min(past * 2, S where seen)",
        "use attention: Attention", before,
    )
    weights = {n: GENERATOR.normal(size=w.shape) for n, w in random_weights(module, 3).items()}
    x = GENERATOR.normal(size=(2, 5, 8))
    with float64():
        emitted = network(module, weights, torch.float64)
        given = torch.from_numpy(x).requires_grad_()
        emitted(given).square().sum().backward()
    gradients = [given.grad, *(p.grad for p in emitted.parameters())]
    assert all(g is not None and bool(torch.isfinite(g).all()) and bool((g != 0).any()) for g in gradients)


# ------------------------------------------------------------------ norms, activations, convolutions


def test_norms_with_an_offset_without_a_bias_and_without_weights() -> None:
    members = (
        "  a = RMSNorm(D, eps = 0.01, offset = 1.0)\n  b = RMSNorm(D, eps = 0.01, weights = false)\n"
        "  c = LayerNorm(D, eps = 0.01, bias = false)\n  d = LayerNorm(D, eps = 0.01, weights = false)"
    )
    module = model(members, "    a(x) + 2 * b(x) + 3 * c(x) + 4 * d(x)", "use nn: LayerNorm, RMSNorm")
    weights = {n: GENERATOR.normal(size=w.shape) for n, w in random_weights(module, 3).items()}
    assert set(weights) == {"a.scale", "c.scale"}
    x = GENERATOR.normal(size=(2, 3, 8)) + 0.5
    rms = x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.01)
    centred = x - x.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 0.01)
    wanted = rms * (1 + weights["a.scale"]) + 2 * rms + 3 * normal * weights["c.scale"] + 4 * normal
    found = run(module, weights, {"x": x}).values[0]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    with float64():
        emitted = network(module, weights, torch.float64)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(emitted, wanted, atol=1e-10)


def test_a_norm_with_an_offset_starts_as_a_norm_without() -> None:
    module = model("  a = RMSNorm(D, offset = 1.0)\n  b = RMSNorm(D)", "    a(x) - b(x)", "use nn: RMSNorm")
    inits = {path: parameter.init.arguments for path, parameter in module.parameters()}
    assert inits == {"a.scale": (("value", 0.0),), "b.scale": (("value", 1.0),)}


def test_activations() -> None:
    x = np.linspace(-4, 4, 40).reshape(1, 5, 8)
    module = model("  act = XIELU()", "    act(x)", "use nn: XIELU")
    heights = {"act.above": np.log(np.exp(0.8) - 1), "act.below": np.log(np.exp(0.3) - 1)}
    wanted = np.where(x > 0, 0.8 * x**2, 0.8 * (np.expm1(np.minimum(x, -1e-6)) - x)) + 0.5 * x
    np.testing.assert_allclose(run(module, heights, {"x": x}).values[0], wanted, atol=1e-12)
    module = model("", "    clamped_swiglu(x, 3 * x + 1) + gelu_sigmoid(x)", "use nn: clamped_swiglu, gelu_sigmoid")
    gate, up = np.minimum(x, 7), np.clip(3 * x + 1, -7, 7)
    logistic = lambda y: 1 / (1 + np.exp(-1.702 * y))
    np.testing.assert_allclose(outcome(module, x=x)[0], (up + 1) * gate * logistic(gate) + x * logistic(x), atol=1e-12)


def test_a_causal_convolution() -> None:
    uses = "use recurrent: CausalConv\nuse nn: identity"
    module = model("  conv = CausalConv(D, 3, act = identity)", "    conv(x)", uses)
    weights = {n: GENERATOR.normal(size=w.shape) for n, w in random_weights(module, 3).items()}
    x = GENERATOR.normal(size=(1, 7, 8))
    found = run(module, weights, {"x": x}).values[0][0]
    for c in range(8):
        wanted = np.convolve(x[0, :, c], weights["conv.weight"][c, ::-1])[:7] + weights["conv.offset"][c]
        np.testing.assert_allclose(found[:, c], wanted, atol=1e-12)
