"""Every form of a program gives what the whole sequence alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import weft
from streams import MIXERS, Bench, apart, compiled, mixing
from weft.compiler.emit.reference import run
from weft.compiler.ir.module import Module
from weft.compiler.ir.verify import verify
from weft.compiler.stream import rows, state_plan, step
from weft.lang.program import STDLIB, load

EXACT = 1e-11
TINY = {
    "Llama3": "V = 13\n  D = 16\n  F = 12\n  H = 4\n  G = 2\n  layers = 2\n  theta = 100.0",
    "GPT2": "V = 13\n  N = 40\n  D = 16\n  H = 4\n  layers = 2",
    "Mistral": "V = 13\n  D = 16\n  F = 12\n  H = 4\n  G = 2\n  layers = 2\n  blocks.attn.mask = window(width = 3)",
    "Mixtral": "V = 13\n  D = 16\n  F = 12\n  H = 4\n  G = 2\n  layers = 2",
    "RWKV": "V = 13\n  D = 16\n  F = 12\n  H = 4\n  layers = 2",
}
FILES = {"Llama3": "llama", "GPT2": "gpt2", "Mistral": "mistral", "Mixtral": "mixtral", "RWKV": "rwkv", "Bert": "bert"}


def tiny(name: str) -> Module:
    sizes = TINY.get(name, "V = 13\n  N = 40\n  D = 16\n  H = 4\n  layers = 2")
    uses = f"use models.{FILES[name]}: {name}\nuse attention: window\n"
    return compiled(f"{uses}model Demo = {name} with {{\n  {sizes}\n}}\n")


@pytest.fixture(scope="module", params=[*MIXERS, *TINY])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(mixing(MIXERS[request.param]) if request.param in MIXERS else tiny(request.param))


def lengths(bench: Bench) -> list[np.ndarray]:
    return [bench.tokens(n) for n in (7, 2, 5)]


def test_a_cached_decode_over_random_chunks_is_the_whole_sequence(bench: Bench) -> None:
    tokens = bench.tokens(2, 9)
    whole = bench.full(tokens)
    assert max(apart(bench.decoded(tokens), whole) for _ in range(2)) < EXACT


def test_later_tokens_do_not_change_earlier_outputs(bench: Bench) -> None:
    tokens = bench.tokens(2, 8)
    changed = np.concatenate([tokens[:, :5], bench.tokens(2, 3)], axis=1)
    assert apart(bench.full(changed)[:, :5], bench.full(tokens)[:, :5]) < EXACT


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_equals_the_row_alone(bench: Bench, side: str) -> None:
    sequences = lengths(bench)
    for row, sequence in zip(bench.padded(sequences, side), sequences, strict=True):
        assert apart(row, bench.full(sequence[None])[0]) < EXACT


def test_packed_documents_equal_the_documents_alone(bench: Bench) -> None:
    sequences = lengths(bench)
    for part, sequence in zip(bench.packed(sequences), sequences, strict=True):
        assert apart(part, bench.full(sequence[None])[0]) < EXACT


def test_rows_that_advance_at_their_own_pace_equal_the_rows_alone(bench: Bench) -> None:
    sequences = [bench.tokens(12) for _ in range(3)]
    for row, sequence in zip(bench.served(sequences), sequences, strict=True):
        assert apart(row, bench.full(sequence[None])[0, : len(row)]) < EXACT


def test_what_is_remembered_matters(bench: Bench) -> None:
    tokens, form = bench.tokens(2, 8), bench.form("step")
    whole = bench.full(tokens)
    states = run(form, bench.weights, {"tokens": tokens[:, :4]}).states
    for path in [p for p in states if p.startswith("blocks.0")]:
        other = states[path] + 1 if states[path].dtype == np.int64 else states[path] * 1.01 + 0.01
        wrong = {**states, path: other}
        result = run(form, bench.weights, {"tokens": tokens[:, 4:]}, {"past": np.array(4)}, wrong).values[0]
        assert apart(result, whole[:, 4:]) > 1e-9, path


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_encoder_sees_all_of_its_row_and_nothing_else(side: str) -> None:
    bench = Bench(tiny("Bert"))
    sequences = lengths(bench)
    alone = [bench.full(s[None])[0] for s in sequences]
    for found in (bench.padded(sequences, side), bench.packed(sequences)):
        assert max(apart(a, b) for a, b in zip(found, alone, strict=True)) < EXACT


def test_a_latent_attention_remembers_only_the_latent() -> None:
    module = weft.compile(load(STDLIB.parent / "examples" / "new_attention.llm"), "Latent")
    assert [(e.path, e.kind, e.bytes_per_token) for e in state_plan(step(module))] == [
        ("blocks.0.attn.latent", "grow", 128),
        ("blocks.1.attn.latent", "grow", 128),
    ]


def test_states_have_the_names_of_the_spec() -> None:
    def names(block: str) -> list[tuple[str, str]]:
        plan = state_plan(step(mixing(MIXERS[block])))
        return sorted((e.path, e.kind) for e in plan if e.path.startswith("blocks.0"))

    assert names("grouped-query attention with rotations") == [
        ("blocks.0.mix.attn.keys", "grow"), ("blocks.0.mix.attn.values", "grow"),
    ]
    assert names("token shift and a recurrence") == [
        ("blocks.0.mix.shift.before", "delay"),
        ("blocks.0.mix.time.delayed", "delay"),
        *((f"blocks.0.mix.time.mix_{x}.delayed", "delay") for x in "gkrvw"),
        ("blocks.0.mix.time.s", "carry"),
    ]
    assert names("a convolution") == [("blocks.0.mix.delayed", "delay"), ("blocks.0.mix.delayed_2", "delay")]


def test_a_window_is_kept_in_a_ring_of_its_width_less_one() -> None:
    bench = Bench(mixing(MIXERS["a window with slopes"]))
    form = step(bench.module)
    (keys, *_) = state_plan(form, width=2)
    assert (keys.kind, keys.bytes_per_token, keys.fixed_bytes, keys.can_be_cut) == ("ring", 8, 16, False)
    states, past = None, 0
    for _ in range(4):
        states = run(form, bench.weights, {"tokens": bench.tokens(1, 2)}, {"past": np.array(past)}, states).states
        past += 2
        assert states["blocks.0.mix.attn.keys"].shape[1] == 2


def test_the_plan_counts_bytes_per_row() -> None:
    plan = state_plan(step(mixing(MIXERS["attention and a recurrence"])), width=2)
    by_name = {e.path.removeprefix("blocks.1.mix."): e for e in plan if e.path.startswith("blocks.1")}
    assert (by_name["time.s"].kind, by_name["time.s"].fixed_bytes) == ("carry", 2 * 4 * 4 * 2)
    assert (by_name["time.delayed"].kind, by_name["time.delayed"].fixed_bytes) == ("delay", 8 * 2)


def test_a_composite_is_called_whole_in_every_form() -> None:
    module = tiny("Mistral")
    for form in (step(module), rows(module), step(module, rows=True)):
        attends = [f for f in form.functions.values() if f.definition == "weft.attention.attend"]
        assert [sum(n.op == "softmax" for n in f.graph.nodes()) for f in attends] == [1]
        assert not any(n.op in ("and", "ambient") for n in attends[0].graph.nodes())


def test_deriving_costs_the_same_at_any_depth() -> None:
    def functions(layers: int) -> int:
        form = step(compiled(f"use models.llama: Llama3\nmodel Demo = Llama3 with {{\n  layers = {layers}\n}}\n"))
        return sum(len(f.graph) for f in form.functions.values())

    assert functions(126) == functions(2)


def test_a_derived_form_passes_verification_and_prints() -> None:
    form = step(tiny("Llama3"))
    verify(form)
    assert form.form == "step"
    assert [n for n in form.functions if n.endswith("_2")] == []
