"""Maps of foreign checkpoints are checked against the model: every weight once, every axis once."""

from __future__ import annotations

import pytest
from weft.lang.checkpoints import CheckpointPlan, check_checkpoint
from weft.lang.diagnostics import WeftError
from weft.lang.parser import parse
from weft.lang.plans import ModelFacts
from weft.lang.render import render
from weft.lang.source import Source

QKV = (("D", 64), ("H", 4), ("R", 1), ("K", 16))
TINY = ModelFacts(
    "Tiny",
    (),
    (
        ("embed.table", (("V", 100), ("D", 64))),
        ("blocks.*.attn.q.weight", QKV),
        ("blocks.*.attn.k.weight", (("D", 64), ("H", 4), ("K", 16))),
        ("blocks.*.attn.v.weight", (("D", 64), ("H", 4), ("K", 16))),
        ("blocks.*.experts.up.weight", (("E", 8), ("D", 64), ("F", 96))),
    ),
    ("V", "D", "H", "R", "K", "E", "F"),
    ("V", "D", "H", "layers"),
)
CONFIG = "V = vocab_size\n    D = hidden_size\n    H = rope.heads\n    ignore use_cache, torch_dtype"
WEIGHTS = """embed.table = "wte.weight"
    blocks.{i}.attn.{q, k, v}.weight = "h.{i}.attn.qkv.weight": [D, (3 H K)]
    blocks.{i}.experts.up.weight = "h.{i}.experts.{E}.up.weight": [F, D]"""


def check(config: str = CONFIG, weights: str = WEIGHTS) -> CheckpointPlan:
    text = f'checkpoint "TinyLM" for Tiny {{\n  config {{\n    {config}\n  }}\n  weights {{\n    {weights}\n  }}\n}}\n'
    file, problems = parse(Source("tiny.llm", text))
    assert not problems, render(problems)
    return check_checkpoint(file.items[0], TINY)


def codes(config: str = CONFIG, weights: str = WEIGHTS) -> list[str]:
    with pytest.raises(WeftError) as caught:
        check(config, weights)
    render(caught.value.diagnostics)
    return [d.code for d in caught.value.diagnostics]


def test_packed_tensors_and_one_tensor_for_each_expert_are_understood() -> None:
    plan = check()
    assert plan.architecture == "TinyLM" and plan.ignored == ("use_cache", "torch_dtype")
    embed, qkv, up = plan.weights
    assert embed.layout == (("V",), ("D",)), "without a layout the stored axes are those of the weight"
    assert qkv.paths == tuple(f"blocks.{{i}}.attn.{n}.weight" for n in "qkv")
    assert qkv.layout == (("D",), ("3", "H", "K")), "R has length 1 and may be left out"
    assert up.spread == ("E",) and up.layout == (("F",), ("D",))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("W = vocab_size", ["E0730"]),
        ("V = vocab_size\n    V = n_vocab", ["E0731"]),
        ("V = vocab_size\n    ignore vocab_size", ["E0731"]),
        ("V = vocab_size(1)", ["E0732"]),
        ("V = (vocab_size, 3)", ["E0732"]),
    ],
)
def test_config_entries(config: str, expected: list[str]) -> None:
    assert codes(config=config) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("embed.table", "embed.tabel", ["E0733"]),
        ("blocks.{i}.experts", "blocks.experts", ["E0733"]),
        ('embed.table = "wte.weight"\n', "", ["E0734"]),
        ('embed.table = "wte.weight"', 'embed.table = "wte.weight"\n    embed.table = "wpe.weight"', ["E0735"]),
        ('"wte.weight"', '"h.{i}.attn.qkv.weight"', ["E0737", "E0735"]),
        ("(3 H K)", "(H K)", ["E0736"]),
        ("(3 H K)", "(3 K)", ["E0736"]),
        ("(3 H K)", "(3 H H K)", ["E0736"]),
        ("[F, D]", "[F, D, E]", ["E0736"]),
        ("[F, D]", "[2, F, D]", ["E0736"]),
        ("experts.{E}.up", "experts.up", ["E0736"]),
        ("h.{i}.experts", "h.experts", ["E0737"]),
        ("experts.{E}.up", "experts.{j}.up", ["E0737"]),
        ('"wte.weight"', '"wte.{weight"', ["E0737"]),
    ],
)
def test_weight_entries(old: str, new: str, expected: list[str]) -> None:
    assert old in WEIGHTS
    assert codes(weights=WEIGHTS.replace(old, new)) == expected
