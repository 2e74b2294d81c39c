"""Programs with two sequences: what an encoder does along its own is right when rows are padded, packed and cached."""

from __future__ import annotations

import numpy as np
import pytest
import weft
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.stream import encoding, rows, step
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.verify import verify

USES = """
use nn: Embedding, LayerNorm, Linear, MLP, relu
use attention: Attention, CrossAttention, full
use position: LearnedPositions
use recurrent: TimeMix, TokenShift
use moe: MoE
"""

MODELS = {
    "an encoder with positions, norms after, and every second layer looking at it": """
model Demo(V: dim = 17, D: dim = 8, W: dim = 23) {
  stream T as S
  source_embed = Embedding(W, D)
  source_place = LearnedPositions(16, D)
  embed = Embedding(V, D)
  place = LearnedPositions(12, D)
  encoder = repeat 2 {
    attn = Attention(D, 2, mask = full, biases = true)
    attn_norm = LayerNorm(D)
    mlp = MLP(D, 12)
    mlp_norm = LayerNorm(D)
    forward(x) {
      h = attn_norm(x + attn(x))
      mlp_norm(h + mlp(h))
    }
  }
  decoder = repeat 3 as i {
    attn = Attention(D, 2, biases = true)
    cross = if i % 2 == 0 { CrossAttention(D, 2, 1, biases = true) } else { MLP(D, 12) }
    norm = LayerNorm(D)
    forward(x, memory) {
      h = x + attn(x)
      norm(h + if i % 2 == 0 { cross(h, memory) } else { cross(h) })
    }
  }
  forward(tokens: int[B, T], source: int[B, N]) -> [B, T, V] {
    memory = source |> source_embed |> source_place |> encoder
    decoder(tokens |> embed |> place, memory) |> embed.logits
  }
}
""",
    "a recurrent encoder with delays": """
block Cross(D: dim) {
  q = Linear(D, D)
  k = Linear(D, D)
  forward(x: [.., T, D], memory: [.., N, D]) -> [.., T, D] {
    keys = k(memory)
    dot(softmax(dot(q(x), keys, D), N), memory, N)
  }
}

model Demo(V: dim = 13, D: dim = 8) {
  stream T as S
  embed = Embedding(V, D)
  shifted = TokenShift(D)
  mix = TimeMix(D, 2)
  attn = Attention(D, 2)
  cross = Cross(D)
  forward(source: int[B, N], tokens: int[B, T]) -> [B, T, V] {
    e = embed(source)
    memory = mix(e + shifted(e)) + shift(e, N, by = 1) + position(N) * 0.1
    x = embed(tokens)
    y = x + attn(x)
    embed.logits(y + cross(y, memory))
  }
}
""",
}
EXPERTS = """
model Demo(V: dim = 17, D: dim = 8) {
  stream T as S
  embed = Embedding(V, D)
  encoder = repeat 2 {
    attn = Attention(D, 2, mask = full)
    mlp = MoE(D, 12, E = 4, top = 2)
    forward(x) {
      h = x + attn(x)
      h + mlp(h)
    }
  }
  cross = CrossAttention(D, 2)
  forward(source: int[B, N], tokens: int[B, T]) -> [B, T, V] {
    x = embed(tokens)
    embed.logits(x + cross(x, source |> embed |> encoder))
  }
}
"""


def compiled(text: str) -> Module:
    return weft.compile(load_source(Source("spec.llm", USES + text)), "Demo")


@pytest.mark.parametrize("case", MODELS)
def test_every_way_to_run_it_agrees(case: str) -> None:
    checks = list(verify(compiled(MODELS[case]), bfloat16=False, weight_sets=1))
    assert all(check.passed for check in checks), [(c.name, c.verdict) for c in checks if not c.passed]
    assert {"cached, ONNX Runtime", "padded left, PyTorch", "packed documents, PyTorch"} <= {c.name for c in checks}


def test_only_layers_that_look_at_the_source_keep_something_of_it() -> None:
    module = step(compiled(next(iter(MODELS.values()))))
    encoder = encoding(module)
    assert encoder is not None
    source = np.zeros((2, 5), np.int64)
    kept = run(encoder, random_weights(encoder, 0), {"source": source}).states
    assert set(kept) == {f"decoder.{i}.cross.{name}" for i in (0, 2) for name in ("keys", "values")}


def test_a_penalty_of_the_encoder_leaves_padding_out() -> None:
    module = compiled(EXPERTS)
    weights, draw = random_weights(module, 0), np.random.default_rng(0)
    source, tokens = draw.integers(0, 17, (1, 6)), draw.integers(0, 17, (1, 3))
    alone = run(module, weights, {"source": source, "tokens": tokens})
    wide = np.concatenate([source, np.full((1, 4), 3)], 1)
    segments = np.array([[1] * 6 + [0] * 4])
    ambient = {
        "positions": np.arange(3)[None], "segments": np.ones((1, 3), np.int64),
        "source_positions": np.maximum(np.cumsum(segments, 1) - 1, 0), "source_segments": segments,
    }
    padded = run(rows(module), weights, {"source": wide, "tokens": tokens}, ambient)
    assert alone.penalties and padded.penalties.keys() == alone.penalties.keys()
    for name, value in alone.penalties.items():
        assert padded.penalties[name] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(padded.values[0], alone.values[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "line",
    ["min(memory, N)", "take(memory, 0, N)", "sum(memory + index(N), N)", "mean(merge(memory, (N, D) -> M), M)"],
)
def test_what_padding_would_change_is_refused_for_rows_alone(line: str) -> None:
    text = f"""
model Demo(V: dim = 13, D: dim = 8) {{
  stream T as S
  embed = Embedding(V, D)
  attn = Attention(D, 2)
  forward(source: int[B, N], tokens: int[B, T]) -> [B, T, V] {{
    memory = embed(source)
    x = embed(tokens)
    embed.logits(attn(x) + {line})
  }}
}}
"""
    module = compiled(text)
    assert encoding(step(module)) is not None
    with pytest.raises(WeftError) as caught:
        step(module, rows=True)
    assert caught.value.diagnostics[0].code in ("E0503", "E0507")
