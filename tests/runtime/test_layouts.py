"""Weights cut out of stored tensors: axes that lie in pieces, as machines that shared them left them."""

from __future__ import annotations

import pytest
import torch
from weft.compiler.check import mapped_model
from weft.compiler.facts import weight_facts
from weft.lang.checkpoints import resolve_map
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.lang.weight_map import StoredTensor
from weft.runtime.hub.layout import read_member, write_stored

TEXT = """
use nn: Linear

model Tiny(D: dim = 5, H: dim = 6) {
  dim K = 2
  q = Linear(D, (H, K))
  k = Linear(D, (H, K))
  v = Linear(D, (H, K))
  forward(x: [B, D]) -> [B, H, K] { q(x) + k(x) + v(x) }
}

checkpoint "TinyLM" for Tiny {
  config {
    D = width
  }
  weights {
    WEIGHTS.weight = "stored": LAYOUT
    MORE
  }
}
"""


def stored(layout: str, weights: str = "{q, k, v}", more: str = "") -> StoredTensor:
    text = TEXT.replace("WEIGHTS", weights).replace("LAYOUT", layout).replace("MORE", more)
    program = load_source(Source("tiny.llm", text))
    found = resolve_map(program, program.main, program.main.checkpoints[0])
    assert found is not None
    return next(t for t in found.weights(weight_facts(mapped_model(found)[0])).tensors if t.name == "stored")


def test_heads_in_two_pieces_are_put_together() -> None:
    tensor = stored("[(2 3 H/2 K), D]")
    file = torch.arange(36 * 5).reshape(36, 5)
    pieces = file.reshape(2, 3, 3, 2, 5)  # piece, weight, heads of the piece, K, D
    weights = []
    for place, member in enumerate(tensor.members):
        into = torch.empty(5, 6, 2, dtype=torch.int64)
        read_member(file, tensor, member, into)
        heads = torch.cat([pieces[0, place], pieces[1, place]])
        assert torch.equal(into, heads.permute(2, 0, 1))
        weights.append(into)
    assert torch.equal(write_stored(tensor, weights), file)


def test_one_weight_in_pieces_is_written_as_it_was_read() -> None:
    tensor = stored("[(2 K H/2), D]", "q", "  {k, v}.weight = \"{k, v}\"")
    file = torch.arange(12 * 5).reshape(12, 5)
    into = torch.empty(5, 6, 2, dtype=torch.int64)
    read_member(file, tensor, tensor.members[0], into)
    assert torch.equal(into, file.reshape(2, 2, 3, 5).permute(3, 0, 2, 1).reshape(5, 6, 2))
    assert torch.equal(write_stored(tensor, [into]), file)


@pytest.mark.parametrize(
    "layout",
    [
        "[(4 3 H/4 K), D]",  # 6 heads in 4 pieces
        "[(3 H/2 K), D]",  # the pieces are nowhere counted
        "[(3 3 H/3 K), D]",  # which 3?
        "[(2 3 H/2 H K), D]",
        "[(2 3 H/0 K), D]",
        "[(2 3 W/2 K), D]",
    ],
)
def test_pieces_that_do_not_fit_are_refused(layout: str) -> None:
    with pytest.raises(WeftError) as caught:
        stored(layout)
    assert [d.code for d in caught.value.diagnostics] == ["E0736"]
