"""What does not depend on the stream is computed by the first step and read by the others."""

from __future__ import annotations

import numpy as np
import pytest
from streams import USES, Bench, apart, compiled
from weft.compiler.emit.reference import run
from weft.compiler.ir.verify import verify
from weft.compiler.stream import prefill, state_plan, step

EXACT = 1e-11
TEXT = USES + """
block Cross(D: dim, H: dim) {
  dim K = D / H
  q = Linear(D, (H, K))
  k = Linear(D, (H, K))
  v = Linear(D, (H, K))
  o = Linear((H, K), D)
  forward(x: [.., T, D], memory: [.., M, D]) -> [.., T, D] {
    keys    = k(memory)
    values  = v(memory)
    weights = softmax(dot(q(x), keys, K) / sqrt(K), M)
    o(dot(weights, values, M))
  }
}

model Demo(V: dim = 13, D: dim = 8) {
  stream T as S
  embed   = Embedding(V, D)
  encoder = repeat 2 {
    norm = RMSNorm(D)
    attn = Attention(D, 2, mask = full, pos = RoPE(D / 2))
    forward(x) { x + attn(norm(x)) }
  }
  gate    = Linear(D, D)
  decoder = repeat 2 {
    norm  = RMSNorm(D)
    attn  = Attention(D, 2, pos = RoPE(D / 2))
    cross = Cross(D, 2)
    forward(x, memory) {
      h = x + attn(norm(x))
      h + cross(h, memory)
    }
  }
  last = RMSNorm(D)
  forward(source: int[B, M], tokens: int[B, T]) -> [B, T, V] {
    memory = source |> embed |> encoder
    pooled = mean(gate(memory), M)
    decoder(embed(tokens) + pooled, memory) |> last |> embed.logits
  }
}
"""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(compiled(TEXT))


@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_first_step_computes_the_constants_and_later_steps_read_them(bench: Bench, first: int) -> None:
    source, tokens = bench.tokens(2, 5), bench.tokens(2, 7)
    whole = bench.full(tokens, source=source)
    begin, further = prefill(bench.module), step(bench.module)
    verify(begin, "prefill")
    verify(further, "step")
    inputs = {"source": source, "tokens": tokens[:, :first]}
    result = run(begin, bench.weights, inputs, {"past": np.array(0)})
    parts = [result.values[0]]
    for i in range(first, 7):
        result = run(further, bench.weights, {"tokens": tokens[:, i : i + 1]}, {"past": np.array(i)}, result.states)
        parts.append(result.values[0])
    assert apart(np.concatenate(parts, axis=1), whole) < EXACT


def test_later_steps_neither_take_the_source_nor_run_the_encoder(bench: Bench) -> None:
    further = step(bench.module)
    assert [name for name, _ in further.main.inputs] == ["tokens"]
    repeats = [n["site"] for n in further.main.graph.nodes() if n.op == "repeat"]
    assert repeats == ["decoder"]


def test_every_layer_keeps_its_own_keys_of_the_source(bench: Bench) -> None:
    plan = {e.path: e for e in state_plan(step(bench.module), sizes={"M": 5})}
    assert {path for path, e in plan.items() if e.kind == "constant"} == {
        "pooled", *(f"decoder.{i}.cross.{name}" for i in (0, 1) for name in ("keys", "values")),
    }
    assert plan["decoder.1.cross.keys"].fixed_bytes == 5 * 8 * 4
    assert not plan["decoder.1.cross.keys"].can_be_cut


def test_rows_of_different_length_share_the_constants(bench: Bench) -> None:
    source, sequences = bench.tokens(2, 5), [bench.tokens(4), bench.tokens(2)]
    begin, further = prefill(bench.module, rows=True), step(bench.module, rows=True)
    tokens, valid = np.stack([sequences[0], np.r_[0, 0, sequences[1]]]), np.array([[1] * 4, [0, 0, 1, 1]], bool)
    positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)

    def ambient(start: int, stop: int) -> dict[str, np.ndarray]:
        return {
            "past": np.array(start), "positions": positions[:, start:stop], "valid": valid[:, start:stop],
            "history_positions": positions[:, :stop], "history_valid": valid[:, :stop],
        }

    first = run(begin, bench.weights, {"source": source, "tokens": tokens[:, :3]}, ambient(0, 3))
    last = run(further, bench.weights, {"tokens": tokens[:, 3:]}, ambient(3, 4), first.states).values[0]
    for row, sequence in enumerate(sequences):
        alone = bench.full(sequence[None], source=source[row : row + 1])
        assert apart(last[row, 0], alone[0, -1]) < EXACT


def test_a_model_whose_inputs_are_all_streamed_begins_like_it_goes_on() -> None:
    module = compiled("use models.rwkv: RWKV\nmodel Demo = RWKV with {\n  D = 16\n  H = 4\n  layers = 1\n}\n")
    assert list(prefill(module).functions) == list(step(module).functions)
