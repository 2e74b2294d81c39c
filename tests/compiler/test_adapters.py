"""Adapters are blocks that stand in for parts of a model: `original`, numbers of layers, and `weft.adapt`."""

from __future__ import annotations

import numpy as np
import pytest
from weft.compiler.adaptation import Adaptation, adapt, changed
from weft.compiler.changes import instances
from weft.compiler.compile import compile
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import initial_weights, random_weights
from weft.compiler.ir.module import Module
from weft.lang.diagnostics import WeftError
from weft.lang.program import Program, load_source
from weft.lang.source import Source
from weft.runtime.verify import verify

TINY = """
use models.gpt2: GPT2
use nn: Channel, Linear, relu
use adapters: IA3, LoRA, PrefixKeys, PrefixValues, PromptEmbedding

model Tiny = GPT2 with {
  V = 30
  N = 16
  D = 8
  F = 12
  H = 2
  layers = 4
}
"""

RNG = np.random.default_rng(3)
TOKENS = RNG.integers(0, 30, (2, 6))


def program(text: str = "") -> Program:
    found = load_source(Source("tiny.llm", TINY + text))
    assert not found.diagnostics, found.diagnostics[0]
    return found


def model(text: str) -> Module:
    return compile(program(f"model Changed = Tiny with {{\n{text}\n}}\n"), "Changed")


def blocks(module: Module, *end: str) -> list[str]:
    """The blocks of the instances whose path ends so, layer by layer."""
    return [b for p, b in instances(module).items() if p[-len(end) :] == end]


def logits(module: Module, weights: dict[str, np.ndarray], tokens: np.ndarray = TOKENS) -> np.ndarray:
    return run(module, weights, {"tokens": tokens}).values[0]


# ------------------------------------------------------------------ original


def test_a_part_is_held_by_what_stands_in_for_it_and_its_weight_moves_below() -> None:
    paths = [p for p, _ in model("blocks.attn.q = LoRA(original, rank = 2)").parameters()]
    assert {"blocks.0.attn.q.base.weight", "blocks.3.attn.q.delta.a", "blocks.0.attn.k.weight"} <= set(paths)


def test_original_is_what_earlier_changes_made() -> None:
    later = program(
        """
        model Biased = Tiny with { blocks.mlp.up.bias = false }
        model Once = Biased with { blocks.mlp.up = LoRA(original, rank = 2) }
        model Twice = Once with { blocks.mlp.up = LoRA(original, rank = 3) }
        """
    )
    paths = [p for p, _ in compile(later, "Twice").parameters() if p.startswith("blocks.0.mlp.up")]
    up = "blocks.0.mlp.up"
    assert paths == [f"{up}.{p}" for p in ("base.base.weight", "base.delta.a", "base.delta.b", "delta.a", "delta.b")]


def test_of_two_changes_in_one_with_the_later_sees_the_earlier() -> None:
    text = "blocks.mlp.up.bias = false\n blocks.mlp.up = LoRA(original, rank = 2)\n blocks.mlp.up.base.bias = true"
    assert "blocks.0.mlp.up.base.offset" in dict(model(text).parameters())


def test_original_may_be_a_number() -> None:
    assert len(blocks(model("layers = original / 2"), "attn")) == 2


def test_an_inner_original_is_that_of_the_inner_place() -> None:
    module = model("blocks.attn = original with { v = LoRA(original, rank = 2) }")
    assert blocks(module, "attn") == ["Attention"] * 4 and blocks(module, "attn", "v") == ["LoRA"] * 4


def test_the_number_of_a_layer_is_given_a_name_in_the_path() -> None:
    module = model("blocks.{i}.attn.{q, v} = if i % 2 == 0 { LoRA(original, rank = i + 1) } else { original }")
    assert blocks(module, "attn", "q") == ["LoRA", "Linear", "LoRA", "Linear"]
    assert [p.shape for n, p in module.parameters() if n.endswith("v.delta.a")] == [(8, 1), (8, 3)]


def test_layers_that_are_alike_are_compiled_once() -> None:
    module = model("blocks.{i}.attn.q = if i < 2 { LoRA(original, rank = 2) } else { original }")
    assert len({f.name for f in module.functions.values() if f.block == "Attention"}) == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("blocks = LoRA(original, rank = 2)", "E0609"),
        ("embed.{i}.init = original", "E0608"),
        ("blocks.{i} = 3", "E0608"),
        ("blocks.{i}.attn.k.wight = i", "E0601"),
        ("blocks.attn.q = LoRA(orginal, rank = 2)", "E0201"),
    ],
)
def test_what_cannot_be_changed_so_is_refused(text: str, code: str) -> None:
    with pytest.raises(WeftError) as caught:
        model(text)
    assert caught.value.diagnostics[0].code == code


# ------------------------------------------------------------------ weft.adapt


@pytest.mark.parametrize(
    "selection",
    [
        "lora(rank = 2, alpha = 8) on blocks.attn.{q, v}",
        "lora(rank = 2, alpha = 8, stabilised = true) on embed, blocks.mlp",
        "ia3() on blocks.attn.{k, v}",
        "ia3(inputs = true) on blocks.mlp.down",
    ],
)
def test_an_adapted_model_starts_as_the_model_it_was_made_from(selection: str) -> None:
    adapted = adapt(program(), "Tiny", [selection])
    base = random_weights(adapted.original)
    started = dict(initial_weights(adapted.module)) | {new: base[old] for old, new in adapted.paths.items()}
    np.testing.assert_allclose(logits(adapted.module, started), logits(adapted.original, base), rtol=0, atol=1e-12)


def test_every_weight_of_the_model_has_a_path_and_all_others_are_trained() -> None:
    most = "lora(rank = 2, alpha = 2) on all Linear except blocks.mlp.down"
    adapted = adapt(program(), "Tiny", [most, "ia3() on blocks.mlp.down"])
    assert set(adapted.paths) == {p for p, _ in adapted.original.parameters()}
    assert {*adapted.paths.values(), *adapted.trainable} == set(adapted.parameters)
    assert {p.split(".")[-2] for p in adapted.trainable} == {"delta", "scale"}
    assert adapted.paths["blocks.1.mlp.down.offset"] == "blocks.1.mlp.down.base.offset"


def test_the_spec_is_written_as_a_person_would() -> None:
    text = adapt(program(), "Tiny", ["lora(rank = 2, alpha = 2) on blocks.attn.{q, v}"]).program.main.source.text
    assert "model TinyAdapted = Tiny with {\n  blocks.attn.{q, v} = LoRA(original, rank = 2, alpha = 2.0)\n}\n" in text


def test_layers_may_differ() -> None:
    values = {("blocks", i, "attn", "q"): f"LoRA(original, rank = {2 if i < 2 else 3})" for i in (0, 1, 3)}
    adapted = changed(program(), "Tiny", values)
    assert blocks(adapted.module, "attn", "q") == ["LoRA", "LoRA", "Linear", "LoRA"]
    assert adapted.parameters["blocks.3.attn.q.delta.a"].shape == (8, 3)


def test_a_part_that_only_some_layers_have_is_found_there() -> None:
    hybrid = program(
        """
        block Plain(D: dim): Channel {
          inner = Linear(D, D)
          forward(x: [.., D]) -> [.., D] { inner(x) }
        }
        model Hybrid(V: dim = 9, D: dim = 4, layers: int = 3) {
          param table: [V, D]
          blocks = repeat layers as i {
            mix = if i == 1 { Plain(D) } else { Linear(D, D) }
            forward(x) { x + mix(x) }
          }
          forward(tokens: int[B, T]) -> [B, T, D] { blocks(take(table, tokens, V)) }
        }
        """
    )
    adapted = adapt(hybrid, "Hybrid", ["lora(rank = 2, alpha = 2) on blocks.mix.inner"])
    assert blocks(adapted.module, "mix") == ["Linear", "Plain", "Linear"]
    assert adapted.trainable == ("blocks.1.mix.inner.delta.a", "blocks.1.mix.inner.delta.b")


def test_experts_have_adapters_of_their_own() -> None:
    experts = program(
        """
        use moe: MoE
        model Sparse = Tiny with { blocks.mlp = MoE(D, F, E = 3, top = 2) }
        """
    )
    adapted = adapt(experts, "Sparse", ["lora(rank = 2, alpha = 2) on blocks.mlp.experts"])
    assert adapted.parameters["blocks.0.mlp.experts.gate.delta.a"].shape == (3, 8, 2)


@pytest.mark.parametrize(
    "selection",
    ["prompt(count = 2) on blocks.mlp.up", "prefix(count = 2) on blocks.mlp", "dora(rank = 2, alpha = 2) on embed"],
)
def test_a_way_that_does_not_fit_what_is_selected_is_refused(selection: str) -> None:
    with pytest.raises(WeftError) as caught:
        adapt(program(), "Tiny", [selection])
    assert caught.value.diagnostics[0].code == "E0970"


# ------------------------------------------------------------------ virtual tokens


def placed(adapted: Adaptation, base: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drawn weights, with those of the original where it has them."""
    return random_weights(adapted.module, seed=5) | {new: base[old] for old, new in adapted.paths.items()}


def test_a_prompt_stands_where_its_tokens_stand() -> None:
    adapted = adapt(program(), "Tiny", ["prompt(count = 3) on embed"])
    base = random_weights(adapted.original)
    weights = placed(adapted, base) | {"embed.prompt.table": base["embed.table"][[7, 8, 9]]}
    assert adapted.virtual_tokens == (30, 31, 32)

    def behind(first: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([np.tile(np.array(first), (2, 1)), TOKENS], axis=1)

    found = logits(adapted.module, weights, behind(adapted.virtual_tokens))
    np.testing.assert_allclose(found, logits(adapted.original, base, behind((7, 8, 9))), rtol=0, atol=1e-12)


def test_a_prefix_is_all_that_later_tokens_see_of_the_virtual_ones() -> None:
    adapted = adapt(program(), "Tiny", ["prefix(count = 3) on blocks.attn"])
    weights = placed(adapted, random_weights(adapted.original))
    assert adapted.virtual_tokens == (0, 0, 0)

    def behind(word: int) -> np.ndarray:
        tokens = np.concatenate([np.full((2, 3), word), TOKENS], axis=1)
        return logits(adapted.module, weights, tokens)[:, 3:]

    before = behind(0)
    np.testing.assert_array_equal(before, behind(5))
    weights["blocks.0.attn.pos.keys"] = weights["blocks.0.attn.pos.keys"] * 2
    assert np.abs(behind(0) - before).max() > 1e-3


@pytest.mark.parametrize("selection", ["prefix(count = 2) on blocks.attn", "dora(rank = 2, alpha = 2) on blocks.attn"])
def test_every_back_end_and_form_computes_adapted_models(selection: str) -> None:
    adapted = adapt(program("model Small = Tiny with { layers = 2 }"), "Small", [selection])
    checks = list(verify(adapted.module, bfloat16=False, weight_sets=1))
    assert checks and all(c.passed for c in checks), [c for c in checks if not c.passed]
