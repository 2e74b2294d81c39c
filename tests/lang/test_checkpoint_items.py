"""Maps of foreign checkpoints: config read into a spec, every weight found once, every axis of it in its place."""

from __future__ import annotations

from typing import Any

import pytest
from weft.compiler.check import check, mapped_model
from weft.compiler.facts import weight_facts
from weft.lang.checkpoints import CheckpointMap, resolve_map
from weft.lang.config_map import Reading
from weft.lang.diagnostics import WeftError
from weft.lang.expression_text import expression_text
from weft.lang.layouts import shape
from weft.lang.program import load_source
from weft.lang.source import Source

MODEL = """
use nn: Activation, Embedding, Linear, gelu, relu
use moe: MoE

model Tiny(V: dim = 12, D: dim = 6, H: dim = 2, R: dim = 3, F: dim = 5, layers: int = 2, act: Activation = relu) {
  stream T as S
  dim K = 4
  embed  = Embedding(V, D)
  blocks = repeat layers {
    q       = Linear(D, (H, R, K))
    k       = Linear(D, (H, K))
    v       = Linear(D, (H, K))
    experts = stack 3 of Linear(D, F, bias = true)
    forward(x) { x + sum(q(x), H, R, K) * sum(k(x) * v(x), H, K) + act(sum(experts(x), F, Experts)) }
  }
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> blocks |> embed.logits }
}

fn named(name: string) -> Activation { if name == "gelu" { gelu } else { refuse("the activation", name) } }
"""
CONFIG = """V = vocab_size
    D = default(hidden_size, n_embd)
    H = rope.heads
    act = named(hidden_act)
    ignore use_cache"""
WEIGHTS = """layout Linear.weight = [(Out..), (In..)]
    embed.table = "wte.weight"
    blocks.{i}.{q, k, v}.weight = "h.{i}.qkv.weight": [(H R K + H K + H K), D]
    blocks.{i}.experts.{weight, offset} = "h.{i}.experts.{E}.{weight, bias}\""""
FILES = {"vocab_size": 12, "n_embd": 6, "rope": {"heads": 2}, "hidden_act": "gelu", "use_cache": True, "other": None}


def text(config: str = CONFIG, weights: str = WEIGHTS, head: str = '"TinyLM" for Tiny', more: str = "") -> str:
    model = MODEL.replace("stack 3 of", "stack E of").replace("F: dim = 5", "F: dim = 5, E: dim = 3")
    model = model.replace(", Experts", ", E")
    body = f"  config {{\n    {config}\n  }}\n  weights {{\n    {weights}\n  }}\n"
    return f"{model}\ncheckpoint {head} {{\n{body}}}\n{more}"


def loaded(**parts: str) -> CheckpointMap:
    program = load_source(Source("tiny.llm", text(**parts)))
    assert not program.diagnostics, [d.title for d in program.diagnostics]
    item = next(c for c in program.main.checkpoints if c.architectures[0].value == "TinyLM")
    found = resolve_map(program, program.main, item)
    assert found is not None
    return found


def codes(**parts: str) -> list[str]:
    return [d.code for d in check(load_source(Source("tiny.llm", text(**parts)))).diagnostics]


def read(found_config: dict[str, Any], stored: tuple[str, ...] = (), **parts: str) -> dict[str, str]:
    found = loaded(**parts)
    _, names = mapped_model(found)
    reading = Reading(found.config(names), found_config, lambda name: name in stored)
    return {".".join(path): expression_text(value) for path, value in reading.overrides(lambda p: p[0] in names)}


def refused(found_config: dict[str, Any], **parts: str) -> list[str]:
    with pytest.raises(WeftError) as caught:
        read(found_config, **parts)
    return [d.code for d in caught.value.diagnostics]


def test_a_map_that_fits_is_accepted() -> None:
    assert codes() == []


def test_keys_become_values_of_the_model() -> None:
    assert read(FILES) == {"V": "12", "D": "6", "H": "2", "act": "gelu"}


def test_the_first_key_that_is_there_counts() -> None:
    assert read({**FILES, "hidden_size": 8})["D"] == "8"


def test_none_leaves_the_models_own_value() -> None:
    assert "R" not in read(FILES, config=CONFIG + "\n    R = default(repeats, none)")


def test_a_stored_tensor_can_decide() -> None:
    config = CONFIG + '\n    R = if stored("a.b") { 3 } else { 1 }'
    assert read(FILES, config=config)["R"] == "1" and read(FILES, stored=("a.b",), config=config)["R"] == "3"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vocab_size": None}, ["E0740"]),
        ({"rope": {}}, ["E0740"]),
        ({"window": 4}, ["E0742"]),
        ({"rope": {"heads": 2, "scaling": 4.0}}, ["E0742"]),
        ({"hidden_act": "swish"}, ["E0741"]),
    ],
)
def test_what_a_map_does_not_cover_is_refused(change: dict[str, Any], expected: list[str]) -> None:
    assert refused({**FILES, **change}) == expected


def test_a_requirement_that_does_not_hold_refuses_the_checkpoint() -> None:
    config = CONFIG + "\n    require scale == 1.0"
    assert refused({**FILES, "scale": 2.0}, config=config) == ["E0741"]
    assert read({**FILES, "scale": 1.0}, config=config)["V"] == "12"


def test_lists_become_texts_and_infinity_is_a_number() -> None:
    config = CONFIG + """
    let kinds = text(replaced(replaced(types, "mamba", "M"), "attention", "*"))
    R = if kinds == "MM*" { 1 + place(types, "attention") } else { 7 }
    require limits[1] > 1e30"""
    found = {**FILES, "types": ["mamba", "mamba", "attention"], "limits": [0.0, {"__float__": "Infinity"}]}
    assert read(found, config=config)["R"] == "3"


def test_a_let_may_stand_in_the_name_of_a_tensor_and_depend_on_the_layer() -> None:
    config = CONFIG + '\n    let home = if i == 0 { "first" } else { heads[i] }'
    weights = WEIGHTS.replace('"h.{i}.qkv', '"h.{home}.{i}.qkv')
    found = loaded(config=config, weights=weights)
    module, names = mapped_model(found)
    reading = Reading(found.config(names), {**FILES, "heads": [3, 4]}, lambda _: False)
    tensors = [t.name for t in found.weights(weight_facts(module), reading).tensors]
    assert {"h.first.0.qkv.weight", "h.4.1.qkv.weight"} <= set(tensors)
    assert len({t.name for t in found.weights(weight_facts(module)).tensors}) == len(tensors), "without a config, too"


def test_a_map_built_upon_another_says_only_what_differs() -> None:
    base = text(head='"Base" for Tiny').split("checkpoint", 1)[1]
    found = {"head": '"TinyLM" like "Base"', "config": "D = width", "weights": 'embed.table = "table"'}
    assert read({**FILES, "width": 7}, **found, more=f"checkpoint{base}")["D"] == "7"
    plan = loaded(**found, more=f"checkpoint{base}").weights(weight_facts(mapped_model(loaded())[0]))
    assert [t.name for t in plan.tensors][:2] == ["table", "h.0.qkv.weight"]


def test_every_weight_is_found_in_its_tensor() -> None:
    found = loaded()
    tensors = {t.name: t for t in found.weights(weight_facts(mapped_model(found)[0])).tensors}
    assert len(tensors) == 1 + 2 * (1 + 3 * 2)
    qkv = tensors["h.1.qkv.weight"]
    assert shape(qkv.layout) == (24 + 8 + 8, 6)
    assert [m.path for m in qkv.members] == [f"blocks.1.{n}.weight" for n in "qkv"]
    expert = tensors["h.0.experts.2.weight"]
    assert shape(expert.layout) == (5, 6), "torch's order, by the default layout"
    assert expert.members[0].at == ((0, 2),), "the third entry of the first axis"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("W = vocab_size", ["E0730"]),
        ("V = vocab_size\n    V = n_vocab", ["E0731"]),
        ("V = repeat 2 { }", ["E0732"]),
    ],
)
def test_wrong_config_lines(config: str, expected: list[str]) -> None:
    assert codes(config=config) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("embed.table", "embed.tabel", ["E0734"]),
        ('embed.table = "wte.weight"\n', "", ["E0734"]),
        ("blocks.{i}.experts", "blocks.experts", ["E0734"]),
        ('embed.table = "wte.weight"', 'embed.table = "wte.weight"\n    embed.table = "wpe.weight"', ["E0735"]),
        ('"wte.weight"', '"h.0.experts.0.weight"', ["E0735"]),
        ("(H R K + H K + H K)", "(H R K + H K)", ["E0736"]),
        ("(H R K + H K + H K)", "(H K + H K + H K)", ["E0736"]),
        ("(H R K + H K + H K)", "(3 H K)", ["E0736"]),
        ("(H R K + H K + H K)", "(H R F + H K + H K)", ["E0736"]),
        ("h.{i}.experts", "h.experts", ["E0737"]),
        ("experts.{E}.{weight", "experts.{j}.{weight", ["E0737"]),
        ('"wte.weight"', '"wte.{weight"', ["E0737"]),
        ("{weight, bias}", "{weight, bias, more}", ["E0737"]),
    ],
)
def test_wrong_weight_lines(old: str, new: str, expected: list[str]) -> None:
    assert old in WEIGHTS
    assert codes(weights=WEIGHTS.replace(old, new)) == expected


def test_bases_are_found_and_make_no_circle() -> None:
    assert codes(head='"TinyLM" for Tiny like "Nothing"') == ["E0738"]
    assert codes(head='"TinyLM" for Tiny like "TinyLM"') == ["E0739"]
