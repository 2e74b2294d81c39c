"""Rows that differ: penalties leave padding out, and values that know their position gain the axis of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from modules import B, Body, D, T, at, axis, collect, integer, real
from streams import Bench, apart, compiled
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.control import repeat
from weft.compiler.ir.module import Instance, Layers, Module
from weft.compiler.ir.verify import verify
from weft.compiler.lower.model import compile_model
from weft.compiler.passes.inference import drop_penalties
from weft.compiler.stream import rows, step
from weft.lang.program import load_source
from weft.lang.source import Source

MIXTURE = """
use models.mixtral: Mixtral
model Demo = Mixtral with {
  V = 13
  D = 16
  F = 12
  H = 4
  G = 2
  layers = 2
}
"""


def test_a_penalty_counts_real_tokens_only() -> None:
    bench = Bench(compiled(MIXTURE))
    form = rows(bench.module)
    sequences = [bench.tokens(6), bench.tokens(3)]
    packed = {
        "positions": np.r_[0:6, 0:3][None], "segments": np.r_[[1] * 6, [2] * 3][None],
    }
    exact = run(form, bench.weights, {"tokens": np.concatenate(sequences)[None]}, packed).penalties["balance"]
    tokens = np.stack([sequences[0], np.r_[bench.tokens(3), sequences[1]]])
    padded = {
        "positions": np.array([range(6), [7, 7, 7, 0, 1, 2]]), "segments": np.array([[1] * 6, [0, 0, 0, 1, 1, 1]]),
    }
    assert run(form, bench.weights, {"tokens": tokens}, padded).penalties["balance"] == pytest.approx(exact, rel=1e-11)
    unmasked = run(bench.module, bench.weights, {"tokens": tokens}).penalties["balance"]
    assert abs(unmasked - exact) > 1e-6


def test_penalties_and_dropout_are_gone_from_a_step() -> None:
    text = MIXTURE + """
use models.gpt2: GPT2
model Noisy = GPT2 with {
  V = 13
  N = 20
  D = 16
  H = 4
  layers = 2
  dropout = 0.5
}
"""
    for name in ("Demo", "Noisy"):
        module = compiled(text, name)
        bare = drop_penalties(module)
        verify(bare, "drop_penalties")
        bench = Bench(module)
        tokens = bench.tokens(2, 5)
        assert apart(run(bare, bench.weights, {"tokens": tokens}).values[0], bench.full(tokens)) == 0
        for form in (bare, step(module)):
            assert not any(o.startswith("penalty.") for f in form.functions.values() for o in f.outputs)
            assert not any(n.op == "dropout" for f in form.functions.values() for n in f.graph.nodes())
    assert not any(f.definition.endswith("switch_balance") for f in drop_penalties(compiled(text)).functions.values())


def carried_positions(forgets: bool) -> Module:
    """Layers that carry a value [T, D] to which each adds the positions; in rows it gains the axis of the rows."""
    b = Body(h=real(T, D))
    body = b.add(b.given[0], b.mul(b.cast(b("position", axis=T), dtype="real"), 0.5))
    bodies = [b.done("blocks.forward", body, block="blocks")]
    if forgets:
        b = Body(h=real(T, D))
        bodies.append(b.done("blocks.forward.2", b.expand(2.0, axes=(T, D)), block="blocks"))
    b = Body(x=real(B, T, D))
    start = b.expand(1.0, axes=(T, D))
    schedule = (0, 1, 0) if forgets else (0, 0)
    names = tuple(f.name for f in bodies)
    (h,) = repeat(b.graph, names, schedule, (start,), (real(T, D),), "blocks", at("blocks"), 1, 0)
    entry = b.done("Demo.forward", b.add(b.given[0], h), block="Demo")
    layers = Layers(tuple(Instance("blocks") for _ in bodies), schedule)
    root = Instance("Demo", (), (("blocks", layers),))
    return Module("Demo", collect(*bodies, entry), entry.name, root, ("T", "S"), "full", "B", "T")


@pytest.mark.parametrize("forgets", [False, True])
def test_layers_gain_the_axis_of_the_rows_all_together(forgets: bool) -> None:
    module = carried_positions(forgets)
    verify(module)
    form = rows(module)
    verify(form, "rows")
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    ambient = {
        "positions": np.array([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]]),
        "segments": np.array([[1, 1, 1, 2, 2], [0, 1, 1, 1, 1]]),
    }
    found = run(form, {}, {"x": x}, ambient).values[0]
    for row, piece in ((0, slice(0, 3)), (0, slice(3, 5)), (1, slice(1, 5))):
        alone = run(module, {}, {"x": x[row : row + 1, piece]}).values[0][0]
        assert apart(found[row, piece], alone) < 1e-12


def test_a_callee_that_uses_the_name_of_the_rows_for_something_else_gets_another_name() -> None:
    other = axis("B", 3)
    b = Body(q=integer(T))
    spread = b.mul(b.cast(b.given[0], dtype="real"), b.cast(b("index", axis=other), dtype="real"))
    inner = b.done("inner", b.sum(spread, over=("B",)))
    b = Body(x=real(B, T, D))
    weight = b.run(inner, b("position", axis=T), site="inner")
    entry = b.done("Demo.forward", b.mul(b.given[0], weight), block="Demo")
    module = Module("Demo", collect(inner, entry), entry.name, Instance("Demo"), ("T", "S"), "full", "B", "T")
    form = rows(module)
    verify(form, "rows")
    x = np.ones((2, 3, 8))
    positions = np.array([[0, 1, 2], [2, 1, 0]])
    found = run(form, {}, {"x": x}, {"positions": positions, "segments": np.ones((2, 3), np.int64)}).values[0]
    assert (found == 3 * positions[:, :, None]).all()


def test_an_encoder_looks_ahead_and_back_within_its_own_text() -> None:
    bench = Bench(compiled("""
use nn: Embedding
model Demo(V: dim = 13, D: dim = 8, W: dim = 3) {
  embed = Embedding(V, D)
  param weight: [D, W] = normal(std = 1.0)
  forward(tokens: int[B, T]) -> [B, T, D] {
    x = embed(tokens)
    x + 2 * shift(x, T, by = -1) - shift(x, T, by = -3) + sum(delays(x, T, W) * weight, W)
  }
}"""))
    sequences = [bench.tokens(n) for n in (7, 2, 5)]
    alone = [bench.full(s[None])[0] for s in sequences]
    for found in (bench.padded(sequences, "left"), bench.padded(sequences, "right"), bench.packed(sequences)):
        assert max(apart(a, b) for a, b in zip(found, alone, strict=True)) < 1e-12


def test_a_model_that_says_one_thing_about_a_row_leaves_padding_out_of_what_it_averages() -> None:
    text = """
    use nn: Embedding
    model Pooled(V: dim = 20, D: dim = 8) {
      embed = Embedding(V, D)
      forward(tokens: int[B, T]) -> [B, D] { mean(embed(tokens), T) + max(embed(tokens), T) }
    }
    """
    module = compile_model(load_source(Source("pooled.llm", text)), "Pooled")
    weights = random_weights(module, 0, 1.0)
    tokens, segments = np.array([[3, 1, 4, 7], [5, 9, 0, 0]]), np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    ambient = {"positions": np.cumsum(segments, 1) - 1, "segments": segments}
    found = run(rows(module), weights, {"tokens": tokens}, ambient).values[0]
    alone = [run(module, weights, {"tokens": tokens[i : i + 1, :n]}).values[0][0] for i, n in enumerate((4, 2))]
    np.testing.assert_allclose(found, np.stack(alone), atol=1e-12)
