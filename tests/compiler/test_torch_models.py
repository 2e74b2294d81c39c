"""The models of the standard library, made small: every form of the emitted network does what the reference does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_support import assert_agrees, float64, network, source_of
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.lower.model import compile_model
from weft.compiler.passes.inference import drop_penalties
from weft.compiler.stream import rows, step
from weft.lang.program import load_source
from weft.lang.source import Source

Array = np.ndarray
SMALL = "V = 19\n  D = 24\n  H = 4\n  layers = 2"
MODELS = {
    "Llama": f"use models.llama: Llama3\nmodel Llama = Llama3 with {{\n  {SMALL}\n  F = 40\n  G = 2\n}}",
    "GPT": f"use models.gpt2: GPT2\nmodel GPT = GPT2 with {{\n  {SMALL}\n  N = 16\n  dropout = 0.1\n}}",
    "Windowed": (
        "use models.mistral: Mistral\nuse attention: window\nmodel Windowed = Mistral with {\n"
        f"  {SMALL}\n  F = 40\n  G = 2\n  blocks.attn.mask = window(width = 3)\n}}"
    ),
    "Turns": (  # two blocks outside of the layers, used in turns, each with parts of the same names
        "use models.zamba2: Zamba2\nuse position: RoPE\nmodel Turns = Zamba2 with {\n  V = 19\n  D = 16\n  F = 24\n"
        "  H = 2\n  M = 4\n  N = 4\n  A = 3\n  layers = 4\n  places = (1, 2, 3)\n  adapted = true\n  pos = RoPE(K)\n}"
    ),
    "Experts": f"use models.mixtral: Mixtral\nmodel Experts = Mixtral with {{\n  {SMALL}\n  F = 40\n  G = 2\n}}",
    "Encoder": f"use models.bert: Bert\nmodel Encoder = Bert with {{\n  {SMALL}\n  N = 16\n}}",
    "Recurrent": f"use models.rwkv: RWKV\nmodel Recurrent = RWKV with {{\n  {SMALL}\n  F = 40\n}}",
    "Slopes": (
        "use models.llama: Llama3\nuse position: ALiBi\nuse nn: identity\nmodel Slopes = Llama3 with {\n"
        f"  {SMALL}\n  F = 40\n  G = 2\n  blocks.attn.pos = identity\n  blocks.attn.bias = ALiBi(2)\n}}"
    ),
}
# The first look is not used, but its `position(S)` is: it comes before the history whose length it needs.
MODELS["Unused"] = """use nn: Embedding, Linear
use attention: causal

block Look(D: dim, K: dim) {
  a = Linear(D, K)
  b = Linear(D, K)
  forward(x: [.., T, D]) -> [.., T, D] {
    unused = rename(a(x), T -> S)
    ignored = softmax(dot(b(x), unused, K), S where causal(position(T), position(S)))
    keys    = rename(b(x), T -> S)
    values  = rename(x, T -> S)
    dot(softmax(dot(a(x), keys, K), S where causal(position(T), position(S))), values, S)
  }
}

model Unused(V: dim = 19, D: dim = 24, K: dim = 8) {
  stream T as S
  embed = Embedding(V, D)
  look  = Look(D, K)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> look |> embed.logits }
}"""
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 6))
# Row 0 holds two documents; row 1 one, with padding behind it.
POSITIONS = np.asarray([[0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 0, 0]])
SEGMENTS = np.asarray([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0]])


def small(name: str) -> Module:
    return compile_model(load_source(Source(f"{name}.llm", MODELS[name] + "\n")), name)


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))


@pytest.mark.parametrize("name", MODELS)
def test_whole_sequences(name: str) -> None:
    assert_agrees(small(name), {"tokens": TOKENS})


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_several_documents_and_padding(name: str) -> None:
    assert_agrees(rows(small(name)), {"tokens": TOKENS}, {"positions": POSITIONS, "segments": SEGMENTS})


@pytest.mark.parametrize("name", [n for n in MODELS if n != "Encoder"])
def test_steps_add_up_to_the_whole_sequence(name: str) -> None:
    module = small(name)
    weights = random_weights(module, 0)
    with float64():
        model = network(step(drop_penalties(module)), weights, torch.float64)
        states, past, found = model.initial_states(2), 0, []
        for length in (2, 1, 3):
            logits, states = model(tensor(TOKENS[:, past : past + length]), torch.tensor(past), states)
            found.append(logits.detach().numpy())
            past += length
    expected = run(module, weights, {"tokens": TOKENS}).values[0]
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "Encoder"])
def test_steps_of_rows_that_differ_equal_each_row_alone(name: str) -> None:
    module = small(name)
    weights = random_weights(module, 0)
    padded = TOKENS.copy()
    padded[1, 2:] = TOKENS[1, :4]  # row 1 is padded on the left
    positions = np.asarray([range(6), [0, 0, 0, 1, 2, 3]])
    valid = np.asarray([[True] * 6, [False, False, True, True, True, True]])
    with float64():
        model = network(step(drop_penalties(module), rows=True), weights, torch.float64)
        states, past, found = model.initial_states(2), 0, []
        for length in (2, 3, 1):
            now, here = slice(past, past + length), past + length
            ambient = positions[:, now], valid[:, now], positions[:, :here], valid[:, :here]
            logits, states = model(tensor(padded[:, now]), *map(tensor, ambient), states)
            assert logits.isfinite().all()
            found.append(logits.detach().numpy())
            past = here
    alone = run(module, weights, {"tokens": TOKENS[1:, :4]}).values[0]
    np.testing.assert_allclose(np.concatenate(found, axis=1)[1:, 2:], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["Llama", "Experts", "Recurrent"])
def test_every_form_compiles_whole(name: str) -> None:
    module = small(name)
    weights = random_weights(module, 0)
    forms = [
        (rows(module), lambda m: (tensor(TOKENS), tensor(POSITIONS), tensor(SEGMENTS))),
        (step(drop_penalties(module)), lambda m: (tensor(TOKENS), torch.tensor(0), m.initial_states(2))),
    ]
    for form, make in forms:
        model = network(form, weights)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*make(model))[0], model(*make(model))[0])


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_stays_bfloat16_and_near(name: str) -> None:
    module = small(name)
    weights = random_weights(module, 0)
    model = network(module, weights)
    exact = model(tensor(TOKENS))
    exact = exact[0] if isinstance(exact, tuple) else exact
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(tensor(TOKENS))
    narrow = model.bfloat16()(tensor(TOKENS))
    for output in (mixed, narrow):
        output = output[0] if isinstance(output, tuple) else output
        assert output.isfinite().all()
        if name != "Experts":  # there a rounding can choose another expert
            assert (output - exact).abs().max() < 0.05 * exact.abs().max()
    assert (narrow[0] if isinstance(narrow, tuple) else narrow).dtype == torch.bfloat16


def test_the_source_of_a_small_model_reads_like_a_file_of_a_person() -> None:
    source = source_of(small("Llama"))
    for line in (
        "class Attention(nn.Module):",
        "        self.q = Linear((24,), (2, 2, 6))",
        "        keys = pos(self.k(x))  # [B, S, G, K]",
        "        y = attend(queries, keys, values)  # [B, T, G, R, K]",
        "        return self.down(F.silu(self.gate(x)) * self.up(x))",
        "        return F.rms_norm(x, self.scale.shape, self.scale, eps=1e-5)",
        "        h = x + self.attn(self.attn_norm(x), pos)  # [B, T, D]",
        "        self.blocks = nn.ModuleList(Block() for _ in range(2))",
        "        for block in self.blocks:",
    ):
        assert f"{line}\n" in source
    assert max(map(len, source.splitlines())) <= 120


CROSS = """use nn: Embedding, Linear

block Cross(D: dim, K: dim) {
  q = Linear(D, K)
  k = Linear(D, K)
  v = Linear(D, D)
  forward(x: [.., T, D], memory: [.., M, D]) -> [.., T, D] {
    keys   = k(memory)
    values = v(memory)
    x + dot(softmax(dot(q(x), keys, K), M), values, M)
  }
}

model Both(V: dim = 19, D: dim = 8) {
  stream T as S
  embed = Embedding(V, D)
  look  = Cross(D, 4)
  forward(source: int[B, M], tokens: int[B, T]) -> [B, T, V] { embed.logits(look(embed(tokens), embed(source))) }
}
"""


def test_encode_computes_what_depends_on_no_token_and_steps_read_it() -> None:
    module = compile_model(load_source(Source("Both.llm", CROSS)), "Both")
    weights, source = random_weights(module, 0), np.random.default_rng(1).integers(0, 11, (2, 4))
    with float64():
        model = network(step(module), weights, torch.float64)
        constants = model.encode(tensor(source))
        assert set(constants) == {"look.keys", "look.values"}
        begin, states = model(tensor(TOKENS[:, :2]), torch.tensor(0), model.initial_states(2) | constants)
        rest, states = model(tensor(TOKENS[:, 2:]), torch.tensor(2), states)
    found = torch.cat((begin, rest), dim=1).detach().numpy()
    expected = run(module, weights, {"source": source, "tokens": TOKENS}).values[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_loss_of_a_model_with_two_inputs_takes_both() -> None:
    module = compile_model(load_source(Source("Both.llm", CROSS)), "Both")
    model = network(module, random_weights(module, 0))
    source, tokens, weight = torch.zeros(2, 4, dtype=torch.int64), tensor(TOKENS), torch.rand(2, 6)
    losses = F.cross_entropy(model(source, tokens).flatten(0, 1), tokens.flatten(), reduction="none")
    loss, _ = model.loss(source, tokens, tokens, weight, rows=5)
    torch.testing.assert_close(loss, (losses * weight.flatten()).sum() / weight.sum())
