"""Weights of adapters: where they start, what merging makes of them, and the files of PEFT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from weft.compiler.adaptation import Adaptation, adapt
from weft.compiler.compile import compile
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.facts import weight_facts
from weft.compiler.ir.module import Module
from weft.lang.checkpoints import maps, resolve_map
from weft.lang.diagnostics import WeftError
from weft.lang.program import Program, load_source
from weft.lang.source import Source
from weft.lang.weight_map import StoredTensor
from weft.runtime.adapters.initial import initial
from weft.runtime.adapters.merge import merge
from weft.runtime.adapters.peft_config import PeftConfig
from weft.runtime.adapters.peft_reading import read_adapter
from weft.runtime.adapters.peft_writing import write_adapter
from weft.runtime.adapters.runs import adapter_weights, export_adapter, import_adapter, merge_run
from weft.runtime.hub.layout import write_stored
from weft.runtime.hub.reading import import_checkpoint
from weft.runtime.hub.writing import export_checkpoint
from weft.runtime.run import Run

# A decoder whose checkpoint packs projections head by head and stores others input first.
SPEC = """
use nn: Embedding, GatedMLP, Linear, MLP, RMSNorm
use attention: Attention
use moe: MoE

model Tiny(V: dim = 30, D: dim = 8, F: dim = 12, H: dim = 2, K: dim = 6, layers: int = 3, biases = true) {
  stream T as S
  embed  = Embedding(V, D)
  blocks = repeat layers {
    norm = RMSNorm(D)
    attn = Attention(D, H, H, K, biases = biases)
    mlp  = MLP(D, F)
    forward(x) {
      h = x + attn(norm(x))
      h + mlp(h)
    }
  }
  head = Linear(D, V)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> blocks |> head }
}

model Plain = Tiny with { biases = false }
model Tied = Tiny with { head = embed.logits }
model Sparse = Plain with { blocks.mlp = MoE(D, F, E = 3, top = 2) }

checkpoint "Tiny" for Tiny {
  config {
    V = vocab_size
    ignore architectures
  }
  weights {
    layout Linear.weight = [(Out..), (In..)]
    layout Linear.offset = [(Out..)]
    embed.table                   = "words.weight"
    blocks.{i}.norm.scale         = "h.{i}.norm.weight"
    blocks.{i}.attn.{q, k, v}.weight = "h.{i}.attn.qkv.weight": [(H 3 K), D]
    blocks.{i}.attn.{q, k, v}.offset = "h.{i}.attn.qkv.bias": [(H 3 K)]
    blocks.{i}.attn.o.{weight, offset} = "h.{i}.attn.out.{weight, bias}"
    blocks.{i}.mlp.up.weight      = "h.{i}.mlp.up.weight": [D, F]
    blocks.{i}.mlp.up.offset      = "h.{i}.mlp.up.bias"
    blocks.{i}.mlp.down.{weight, offset} = "h.{i}.mlp.down.{weight, bias}"
    head.weight                   = "head.weight"
  }
}
"""
TOKENS = np.random.default_rng(2).integers(0, 30, (2, 6))


@pytest.fixture(scope="module")
def program() -> Program:
    found = load_source(Source("tiny.llm", SPEC))
    assert not found.diagnostics, found.diagnostics[0]
    return found


@pytest.fixture(scope="module")
def tensors(program: Program) -> tuple[StoredTensor, ...]:
    found = resolve_map(program, *maps(program)["Tiny"])
    assert found is not None
    return found.weights(weight_facts(compile(program, "Tiny"))).tensors


def drawn(module: Module, seed: int = 0) -> dict[str, Tensor]:
    return {k: torch.from_numpy(v).double() for k, v in random_weights(module, seed).items()}


def logits(module: Module, weights: Mapping[str, Tensor]) -> np.ndarray:
    return run(module, {k: v.double().numpy() for k, v in weights.items()}, {"tokens": TOKENS}).values[0]


# ------------------------------------------------------------------ start and merge

MERGEABLE = (
    "lora(rank = 3, alpha = 5) on blocks.attn.{q, o}, head",
    "lora(rank = 4, alpha = 5, stabilised = true) on embed, blocks.mlp",
    "dora(rank = 3, alpha = 5) on all Linear",
    "ia3() on blocks.attn.{k, v}",
    "ia3(inputs = true) on blocks.mlp.down",
)


@pytest.mark.parametrize("selection", MERGEABLE)
def test_a_merged_model_is_the_adapted_one(program: Program, selection: str) -> None:
    adapted = adapt(program, "Tiny", [selection])
    weights = drawn(adapted.module)
    before = logits(adapted.module, weights)
    after = logits(adapted.original, dict(merge(adapted, weights)))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12 * np.abs(before).max())


def test_adapters_of_adapters_and_of_experts_are_merged_too(program: Program) -> None:
    first = "lora(rank = 2, alpha = 3) on blocks.mlp.experts, blocks.attn.q"
    adapted = adapt(program, "Sparse", [first, "ia3() on blocks.attn.q"])
    weights = drawn(adapted.module)
    before = logits(adapted.module, weights)
    after = logits(adapted.original, dict(merge(adapted, weights)))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12 * np.abs(before).max())


@pytest.mark.parametrize("selection", MERGEABLE)
def test_an_adapter_starts_without_an_effect(program: Program, selection: str) -> None:
    adapted = adapt(program, "Tiny", [selection])
    base = drawn(adapted.original)
    started = dict(initial(adapted, base))
    assert set(started) == set(adapted.parameters)
    np.testing.assert_allclose(logits(adapted.module, started), logits(adapted.original, base), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "selection", "reason"),
    [
        ("Tiny", "bottleneck(width = 3) on blocks.mlp", "no change of one matrix"),
        ("Tiny", "prompt(count = 3) on embed", "no change of one matrix"),
        ("Tied", "lora(rank = 2, alpha = 2) on embed", "the head, too"),
    ],
)
def test_what_no_weight_can_hold_is_not_merged(program: Program, model: str, selection: str, reason: str) -> None:
    adapted = adapt(program, model, [selection])
    with pytest.raises(WeftError) as caught:
        list(merge(adapted, drawn(adapted.module)))
    assert caught.value.diagnostics[0].code == "E0972" and reason in caught.value.diagnostics[0].title


# ------------------------------------------------------------------ the files of PEFT


def written(
    folder: Path, adapted: Adaptation, tensors: tuple[StoredTensor, ...], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    write_adapter(folder, adapted, weights, tensors)
    return json.loads((folder / "adapter_config.json").read_text()), load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("selection", [*MERGEABLE, "prefix(count = 4) on blocks.attn", "prompt(count = 4) on embed"])
def test_what_is_written_is_read_as_the_same_model(
    program: Program, tensors: tuple[StoredTensor, ...], selection: str, tmp_path: Path
) -> None:
    adapted = adapt(program, "Tiny", [selection])
    weights = drawn(adapted.module)
    written(tmp_path, adapted, tensors, weights)
    found = read_adapter(tmp_path, tensors, program, "Tiny")
    base = {old: weights[new] for old, new in adapted.paths.items()}
    again = dict(found.all_weights(base))
    np.testing.assert_allclose(
        logits(found.adaptation.module, again), logits(adapted.module, weights), rtol=0, atol=1e-12
    )


def test_a_packed_projection_has_one_pair_of_matrices_in_the_order_of_its_layout(
    program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path
) -> None:
    adapted = adapt(program, "Tiny", ["lora(rank = 2, alpha = 6) on blocks.attn.{q, k, v}"])
    weights = drawn(adapted.module)
    for layer in range(3):
        for part in "kv":
            weights[f"blocks.{layer}.attn.{part}.delta.a"] = weights[f"blocks.{layer}.attn.q.delta.a"]
    config, stored = written(tmp_path, adapted, tensors, weights)
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 6, ["qkv"])
    a, b = (stored[f"base_model.model.h.1.attn.qkv.lora_{x}.weight"] for x in "AB")
    assert a.shape == (2, 8) and b.shape == (2 * 3 * 6, 2)
    k = b.reshape(2, 3, 6, 2)[:, 1] @ a  # [H, K, D]
    own = weights["blocks.1.attn.k.delta.a"] @ weights["blocks.1.attn.k.delta.b"].reshape(2, 12)
    np.testing.assert_allclose(k.reshape(12, 8).T, own, atol=1e-12)


def test_packed_parts_that_were_trained_apart_stand_side_by_side(
    program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path
) -> None:
    selections = ["lora(rank = 2, alpha = 6) on blocks.attn.{q, v}", "lora(rank = 3, alpha = 6) on head"]
    adapted = adapt(program, "Tiny", selections)
    weights = drawn(adapted.module)
    config, stored = written(tmp_path, adapted, tensors, weights)
    assert stored["base_model.model.h.0.attn.qkv.lora_A.weight"].shape == (4, 8)
    assert (config["r"], config["lora_alpha"]) == (4, 12)
    assert config["rank_pattern"] == {"head": 3} and config["alpha_pattern"] == {"head": 6}
    found = read_adapter(tmp_path, tensors, program, "Tiny")
    again = dict(found.all_weights({old: weights[new] for old, new in adapted.paths.items()}))
    np.testing.assert_allclose(logits(found.adaptation.module, again), logits(adapted.module, weights), atol=1e-12)


def test_a_matrix_stored_input_first_is_said_to_be(
    program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path
) -> None:
    adapted = adapt(program, "Tiny", ["lora(rank = 2, alpha = 6) on blocks.mlp.up"])
    config, stored = written(tmp_path, adapted, tensors, drawn(adapted.module))
    assert config["fan_in_fan_out"] and config["target_modules"] == ["up"]
    assert stored["base_model.model.h.0.mlp.up.lora_A.weight"].shape == (2, 8)


def test_whole_weights_may_come_along(program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path) -> None:
    adapted = adapt(program, "Tiny", ["lora(rank = 2, alpha = 6) on blocks.attn.o"])
    weights = drawn(adapted.module)
    write_adapter(tmp_path, adapted, weights, tensors, replaced=["head.weight"])
    found = read_adapter(tmp_path, tensors, program, "Tiny")
    assert set(found.replaced) == {"head.weight"}
    assert torch.equal(found.replaced["head.weight"], weights["head.weight"])


def adapter(folder: Path, config: dict[str, Any], stored: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}))
    save_file({f"base_model.model.{k}": v for k, v in stored.items()}, folder / "adapter_model.safetensors")
    return folder


OUT = {f"h.{i}.attn.out.lora_{x}.weight": torch.ones(s) for i in range(3) for x, s in (("A", (2, 12)), ("B", (8, 2)))}


MODULES = [f"h.{i}.attn.{m}" for i in range(3) for m in ("qkv", "out")]


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"target_modules": ["out"]}, (0, 1, 2)),
        ({"target_modules": r".*attn\.out"}, (0, 1, 2)),
        ({"target_modules": ["out"], "layers_to_transform": [2]}, (2,)),
        ({"target_modules": ["out"], "layers_to_transform": 2, "layers_pattern": "h"}, (2,)),
        ({"target_modules": ["out"], "exclude_modules": r"h\.[01]\..*"}, (2,)),
        ({"target_modules": ["out", "qkv"], "exclude_modules": ["qkv"]}, (0, 1, 2)),
        ({"target_modules": ["out"], "modules_to_save": ["h.1"]}, (0, 2)),
        ({"target_modules": ["h.2.attn.out"]}, (2,)),
    ],
)
def test_targets_are_chosen_as_peft_chooses_them(config: dict[str, Any], layers: tuple[int, ...]) -> None:
    assert PeftConfig("here", "LORA", config).targets(MODULES) == [f"h.{i}.attn.out" for i in layers]


def test_patterns_give_a_module_its_own_rank_and_alpha() -> None:
    config = PeftConfig("here", "LORA", {"rank_pattern": {"out": 2, "^h.1.attn.qkv": 3}})
    assert [config.by_pattern("rank_pattern", m, 8) for m in MODULES[:4]] == [8, 2, 3, 2]


@pytest.mark.parametrize(
    ("config", "stored", "reason"),
    [
        ({"target_modules": ["out"], "layer_replication": [[0, 2]]}, OUT, "`layer_replication`"),
        ({"target_modules": ["out"], "a_key_of_tomorrow": 0.5}, OUT, "`a_key_of_tomorrow`"),
        ({"target_modules": ["out"], "init_lora_weights": "pissa"}, OUT, "`init_lora_weights`"),
        ({"target_modules": ["out"], "peft_type": "VERA"}, OUT, "`VERA`"),
        ({"target_modules": ["out"], "r": 3}, OUT, "rank 2, the config says 3"),
        ({"target_modules": ["out"], "use_dora": True}, OUT, "`use_dora`"),
        ({"target_modules": ["out", "down"]}, OUT, "`h.0.mlp.down`, but its tensors are missing"),
        ({"target_modules": ["h.0.attn.out"]}, OUT, "`h.1.attn.out`, which `target_modules` does not mean"),
        ({"target_modules": ["out"]}, {**OUT, "pooler.weight": torch.ones(2)}, "no place for `pooler.weight`"),
        ({"target_modules": ["x"]}, {"x.lora_A.weight": torch.ones(2, 2)}, "no matrix for `x`"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path,
    config: dict[str, Any], stored: dict[str, Tensor], reason: str,
) -> None:
    with pytest.raises(WeftError) as caught:
        read_adapter(adapter(tmp_path, config, stored), tensors, program, "Tiny")
    assert caught.value.diagnostics[0].code == "E0971" and reason in caught.value.diagnostics[0].title


def test_a_pickle_is_not_opened(program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(WeftError) as caught:
        read_adapter(tmp_path, tensors, program, "Tiny")
    assert "pickle" in caught.value.diagnostics[0].title


# ------------------------------------------------------------------ runs


def test_an_adapter_goes_onto_a_run_is_merged_and_comes_back(
    program: Program, tensors: tuple[StoredTensor, ...], tmp_path: Path
) -> None:
    base = {k: v.float() for k, v in drawn(compile(program, "Tiny")).items()}
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"architectures": ["Tiny"], "vocab_size": 30}')
    stored = {t.name: write_stored(t, [base[m.path] for m in t.members]) for t in tensors}
    save_file(stored, tmp_path / "base" / "model.safetensors")
    (tmp_path / "tiny.llm").write_text(SPEC)
    run = Run(tmp_path / "run")
    import_checkpoint(tmp_path / "base", run, "Mine", tmp_path / "tiny.llm")

    adapted = adapt(program, "Tiny", ["lora(rank = 2, alpha = 6) on blocks.attn.{q, v}"])
    weights = {k: v.float() for k, v in drawn(adapted.module).items()}
    weights |= {new: base[old] for old, new in adapted.paths.items()}
    config, files = written(tmp_path / "adapter", adapted, tensors, weights)

    on = Run(tmp_path / "on")
    found = import_adapter(tmp_path / "adapter", run, on)
    assert on.open()["model"] == "Adapted" and "LoRA(original" in on.spec.read_text()
    held = load_file(on.weights(on.finished_stage()))
    own = adapter_weights(on)
    assert own.keys() == set(found.adaptation.trainable)
    assert all(np.array_equal(own[path], held[path].numpy()) for path in own)
    np.testing.assert_allclose(logits(found.adaptation.module, held), logits(adapted.module, weights), atol=1e-6)

    export_adapter(on, tmp_path / "again")
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert json.loads((tmp_path / "again" / "adapter_config.json").read_text()) == config
    assert again.keys() == files.keys() and all(torch.equal(again[k], files[k]) for k in files)

    whole = Run(tmp_path / "merged")
    merge_run(on, whole)
    folded = load_file(whole.weights(whole.finished_stage()))
    assert folded.keys() == base.keys() and whole.open()["model"] == "Mine"
    np.testing.assert_allclose(logits(adapted.original, folded), logits(adapted.module, weights), atol=1e-5)
    export_checkpoint(whole, whole.finished_stage(), tmp_path / "hf")
    assert (tmp_path / "hf" / "model.safetensors").is_file()
    with pytest.raises(WeftError) as caught:
        merge_run(whole, Run(tmp_path / "twice"))
    assert caught.value.diagnostics[0].code == "E0974"
