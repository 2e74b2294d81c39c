"""What was fused for a target, told by rule, function or operator; and what was expected and is not, with reasons."""

from __future__ import annotations

from functools import cache

import pytest
import weft
from weft.compiler.fusions import Fusions, fusions, require
from weft.compiler.ir.module import Module
from weft.compiler.passes.inference import drop_penalties
from weft.compiler.rules.library import program_rules
from weft.compiler.stream import step
from weft.lang.diagnostics import WeftError
from weft.lang.program import STDLIB, load_source
from weft.lang.source import Source


def decoder(path: str, name: str) -> Module:
    return step(drop_penalties(weft.compile(weft.load(STDLIB.parent / path), name)), rows=True)


@cache
def quick(target: str = "cpu") -> Fusions:
    return fusions(decoder("examples/quickstart.llm", "Quick"), target)


@pytest.mark.parametrize("name", [
    "add_norm", "add_rms_norm", "weft.rules.add_rms_norm", "SkipSimplifiedLayerNormalization", "gate", "silu_mul",
    "QuickGelu", "cached_attend", "GroupQueryAttention", "rms_norm", "attend",
])  # fmt: skip
def test_what_a_target_fuses_is_known_by_its_rule_its_function_and_its_operator(name: str) -> None:
    assert quick().happened(name)
    require(quick(), [name])


@pytest.mark.parametrize(("name", "reason"), [
    ("add_centred_norm", "add_centred_norm: nothing in `Quick` looks like the left side"),
    ("mix_experts", "nothing in `Quick` looks like what it is made of"),
])  # fmt: skip
def test_what_is_expected_and_is_not_fused_is_told_with_the_reason(name: str, reason: str) -> None:
    assert not quick().happened(name)
    with pytest.raises(WeftError) as caught:
        require(quick(), ["gate", name])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0808" and name in diagnostic.title
    assert reason in diagnostic.notes[0]


def test_portable_exports_have_operators_but_no_rules() -> None:
    assert quick("portable").happened("attend") and quick("portable").happened("Attention")
    assert not quick("portable").happened("add_norm")
    with pytest.raises(WeftError, match="E0808"):
        require(quick("portable"), ["add_norm"])


def test_attention_that_no_kernel_can_take_says_what_it_has_against_it() -> None:
    found = fusions(decoder("stdlib/models/t5.llm", "T5"), "cpu")
    assert not found.happened("cached_attend")
    assert any("keys or values are computed" in reason for reason in found.reasons("cached_attend"))


OWN = """
use nn: Embedding, RMSNorm, softplus
rule stable(x: [..]) {
  from log(1 + exp(x))
  into softplus(x)
}
model Own(V: dim = 8, D: dim = 16) {
  embed = Embedding(V, D)
  norm  = RMSNorm(D)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> open |> embed.logits }
  open(x: [.., D]) -> [.., D] { norm(x) * log(1 + exp(x)) }
}
"""


def test_a_rule_that_puts_in_a_function_without_an_operator_of_its_own_counts_when_it_is_used() -> None:
    program = load_source(Source("own.llm", OWN))
    assert not program.diagnostics
    found = fusions(weft.compile(program, "Own"), "cpu", program_rules(program))
    assert found.happened("stable") and found.happened("softplus")
