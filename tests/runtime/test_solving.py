"""A config.json for a model that was made here: each way a line of a map is turned around."""

from __future__ import annotations

from typing import Any

import pytest
from weft.compiler.check import mapped_model
from weft.compiler.lower.elaborate import Elaborator
from weft.lang.checkpoints import resolve_map
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source, name_span
from weft.lang.source import Source
from weft.runtime.hub.solving import Solver

TEXT = """
use nn: Activation, Channel, clipped, gelu, identity, relu

model Tiny(
  D: dim = 16,
  H: dim = 4,
  K: dim = D / H,
  P: dim = K,
  scale = 1 / sqrt(K),
  act: Activation = relu,
  clip: Activation = identity,
  kinds: string = "AB",
) {
  param weight: [D, P]
  forward(x: [B, D]) -> [B, P] { act(clip(scale * dot(x, weight, D))) }
}

fn named(name: string) -> Activation {
  if contains(("gelu", "gelu_new"), name) { gelu } else if name == "relu" { relu } else { refuse("it is", name) }
}

checkpoint "TinyLM" for Tiny {
  config {
    require window <= 0
    D = hidden_size
    H = heads
    P = int(share * hidden_size / heads)
    scale = if default(scaled, true) { 1 / sqrt(K) } else { 1.0 }
    act = named(hidden_act)
    clip = if given(limit) { clipped(limit = limit) } else { none }
    kinds = text(replaced(replaced(types, "alpha", "A"), "beta", "B"))
    ignore window
  }
  weights {
    weight = "weight"
  }
}
"""


def solved(change: str) -> dict[str, Any]:
    program = load_source(Source("tiny.llm", f"{TEXT}\nmodel Mine = Tiny with {{\n  {change}\n}}\n"))
    assert not program.diagnostics
    found = resolve_map(program, program.main, program.main.checkpoints[0])
    assert found is not None
    elaborator = Elaborator()
    unit, item = program.main.find("Mine") or (None, None)
    assert unit is not None and item is not None
    root = elaborator.place(elaborator.item(unit, item, name_span(item)))
    return Solver(found.config(mapped_model(found)[1]), root, ()).config()


def test_a_model_of_its_own_defaults_says_them_all() -> None:
    found = solved("D = 16")
    said = {"hidden_size": 16, "heads": 4, "share": 1, "scaled": True, "hidden_act": "relu"}
    assert found == {**said, "types": ["alpha", "beta"]}


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("P = 1", "share", 0.25),  # what `int` is taken of
        ("scale = 1.0", "scaled", False),  # the other branch
        ("act = gelu", "hidden_act", "gelu"),  # the first of a list
        ("clip = clipped(limit = 6.0)", "limit", 6.0),
        ('kinds = "BBA"', "types", ["beta", "beta", "alpha"]),  # letters back into words
    ],
)
def test_a_value_is_traced_to_its_key(change: str, key: str, value: Any) -> None:
    assert solved(change)[key] == value


def test_what_no_key_says_is_refused() -> None:
    with pytest.raises(WeftError) as caught:
        solved("scale = 3.0")
    assert [d.code for d in caught.value.diagnostics] == ["E0746"]
