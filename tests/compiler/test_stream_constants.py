"""What does not depend on the stream is computed once, and read by every step."""

from __future__ import annotations

import numpy as np
import pytest
from streams import USES, Bench, apart, compiled
from weft.compiler.emit.reference import initial_states, run
from weft.compiler.ir.equality import same
from weft.compiler.ir.module import Module
from weft.compiler.ir.text import parse_module, print_module
from weft.compiler.ir.verify import verify
from weft.compiler.stream import encoding, rows, state_plan, step
from weft.lang.diagnostics import WeftError

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


def begun(bench: Bench, module: Module, source: np.ndarray, **ambient: np.ndarray) -> dict[str, np.ndarray]:
    """The states before the first token: what the encoder computes, and empty histories."""
    encoder = encoding(module)
    assert encoder is not None
    verify(encoder, "encoding")
    verify(module, "step")
    constants = run(encoder, bench.weights, {"source": source}, ambient).states
    return initial_states(module, bench.weights, {"B": len(source), "T": 1}) | constants


def test_the_encoder_computes_the_constants_and_steps_read_them(bench: Bench) -> None:
    source, tokens = bench.tokens(2, 5), bench.tokens(2, 7)
    whole = bench.full(tokens, source=source)
    further = step(bench.module)
    states, parts = begun(bench, further, source), []
    for start, stop in ((0, 3), (3, 4), (4, 5), (5, 7)):
        given = {"tokens": tokens[:, start:stop]}
        result = run(further, bench.weights, given, {"past": np.array(start)}, states)
        states = result.states
        parts.append(result.values[0])
    assert apart(np.concatenate(parts, axis=1), whole) < EXACT


def test_steps_neither_take_the_source_nor_run_the_encoder(bench: Bench) -> None:
    further = step(bench.module)
    assert [name for name, _ in further.main.inputs] == ["tokens"]
    repeats = [n["site"] for n in further.main.graph.nodes() if n.op == "repeat"]
    assert repeats == ["decoder"]
    encoder = encoding(further)
    assert encoder is not None
    assert [name for name, _ in encoder.main.inputs] == ["source"]
    assert not encoder.main.outputs


def test_a_step_with_an_encoder_prints_and_reads_back(bench: Bench) -> None:
    for module in (step(bench.module), step(bench.module, rows=True)):
        text = print_module(module)
        assert same(parse_module(text), module)
        assert print_module(parse_module(text)) == text


def test_every_layer_keeps_its_own_keys_of_the_source(bench: Bench) -> None:
    plan = {e.path: e for e in state_plan(step(bench.module), sizes={"M": 5})}
    assert {path for path, e in plan.items() if e.kind == "constant"} == {
        "pooled", *(f"decoder.{i}.cross.{name}" for i in (0, 1) for name in ("keys", "values")),
    }
    assert plan["decoder.1.cross.keys"].fixed_bytes == 5 * 8 * 4
    assert not plan["decoder.1.cross.keys"].can_be_cut


def test_rows_of_sources_and_tokens_differ_in_length(bench: Bench) -> None:
    sources, sequences = [bench.tokens(5), bench.tokens(3)], [bench.tokens(4), bench.tokens(2)]
    further = step(bench.module, rows=True)
    source = np.stack([sources[0], np.r_[sources[1], 0, 0]])
    there = np.array([[1] * 5, [1, 1, 1, 0, 0]])
    given = {"source_segments": there, "source_positions": np.maximum(np.cumsum(there, 1) - 1, 0)}
    tokens, valid = np.stack([sequences[0], np.r_[0, 0, sequences[1]]]), np.array([[1] * 4, [0, 0, 1, 1]], bool)
    positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)

    def ambient(start: int, stop: int) -> dict[str, np.ndarray]:
        return given | {
            "past": np.array(start), "positions": positions[:, start:stop], "valid": valid[:, start:stop],
            "history_positions": positions[:, :stop], "history_valid": valid[:, :stop],
        }

    states = begun(bench, further, source, **given)
    first = run(further, bench.weights, {"tokens": tokens[:, :3]}, ambient(0, 3), states)
    last = run(further, bench.weights, {"tokens": tokens[:, 3:]}, ambient(3, 4), first.states).values[0]
    for row, sequence in enumerate(sequences):
        alone = bench.full(sequence[None], source=sources[row][None])
        assert apart(last[row, 0], alone[0, -1]) < EXACT


def test_sources_padded_on_either_side_or_packed_count_as_if_alone(bench: Bench) -> None:
    packing = compiled(TEXT.replace("embed(tokens) + pooled", "embed(tokens)"))
    bench = Bench(packing)
    pairs = [(bench.tokens(4), bench.tokens(3)), (bench.tokens(3), bench.tokens(2))]
    alone = [bench.full(tokens[None], source=source[None])[0] for source, tokens in pairs]
    module = rows(packing)
    verify(module, "rows")
    given = {
        "segments": np.array([[0, 1, 1, 1, 2, 2]]), "positions": np.array([[0, 0, 1, 2, 0, 1]]),
        "source_segments": np.array([[2, 2, 2, 0, 1, 1, 1, 1, 0]]),
        "source_positions": np.array([[0, 1, 2, 0, 0, 1, 2, 3, 0]]),
    }
    inputs = {
        "tokens": np.r_[5, pairs[0][1], pairs[1][1]][None], "source": np.r_[pairs[1][0], 5, pairs[0][0], 7][None],
    }
    logits = run(module, bench.weights, inputs, given).values[0][0]
    assert apart(logits[1:4], alone[0]) < EXACT
    assert apart(logits[4:6], alone[1]) < EXACT


def test_a_mean_over_the_source_would_mix_documents(bench: Bench) -> None:
    with pytest.raises(WeftError) as caught:
        rows(bench.module)
    assert caught.value.diagnostics[0].code == "E0507"


def test_a_model_whose_inputs_are_all_streamed_has_no_encoder() -> None:
    module = compiled("use models.rwkv: RWKV\nmodel Demo = RWKV with {\n  D = 16\n  H = 4\n  layers = 1\n}\n")
    assert encoding(step(module)) is None
