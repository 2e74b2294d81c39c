"""Config lines that turn on the number of a layer stay choices of the spec; all others are decided by the config."""

from __future__ import annotations

from typing import Any

import pytest
from weft.compiler.check import mapped_model
from weft.lang.checkpoints import resolve_map
from weft.lang.config_map import Reading
from weft.lang.expression_text import expression_text
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
use models.llama: Llama
use nn: GatedMLP, MLP, relu
use moe: MoE

model Mixed = Llama with { blocks.mlp = MoE(D, F, E = 4, top = 2) }

checkpoint "MixedLM" for Mixed {
  config {
    let dense = LINE
    blocks.mlp = if dense { GatedMLP(D, F) } else {
      MoE(D, F, experts, 2) with {
        router.normalised = rescaled
        experts = stack E of MLP(D, F, relu)
      }
    }
  }
  weights {}
}
"""
CHOICE = """ { GatedMLP(D, F) } else { MoE(D, F, 8, 2) with {
router.normalised = false
experts = stack E of MLP(D, F, relu)
} }"""


def read(line: str, config: dict[str, Any]) -> str:
    program = load_source(Source("mixed.llm", TEXT.replace("LINE", line)))
    assert not program.diagnostics, [d.title for d in program.diagnostics]
    found = resolve_map(program, program.main, program.main.checkpoints[0])
    assert found is not None
    _, names = mapped_model(found)
    reading = Reading(found.config(names), {"experts": 8, "rescaled": False, **config}, lambda name: False)
    (line_read,) = reading.overrides(lambda path: path[0] in names)
    return expression_text(line_read[1])


@pytest.mark.parametrize(
    ("line", "config", "shown"),
    [
        ("i < first", {"first": 2}, "if i < 2"),
        ("contains(only, i)", {"only": [0, 3]}, "if contains((0, 3), i)"),
        ('roles[i] == "dense"', {"roles": ["dense", "sparse"]}, 'if ("dense", "sparse")[i] == "dense"'),
        ("contains(only, i) or (i + 1) % step != 0", {"only": [], "step": 2}, "if contains((), i) or (i + 1) % 2 != 0"),
        ("first > 0 and i < first", {"first": 2}, "if i < 2"),
        ("i < first or not sparse", {"first": 2, "sparse": True}, "if i < 2"),
    ],
)
def test_a_choice_by_the_layers_number_is_written_down(line: str, config: dict[str, Any], shown: str) -> None:
    assert read(line, config) == shown + CHOICE


@pytest.mark.parametrize(
    ("line", "config"),
    [
        ("first > 0 and i < first", {"first": 0}),
        ("i < first and not sparse", {"first": 2, "sparse": True}),
    ],
)
def test_what_the_config_decides_alone_is_no_choice(line: str, config: dict[str, Any]) -> None:
    assert read(line, config).startswith("MoE(")
