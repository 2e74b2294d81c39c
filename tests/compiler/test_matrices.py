"""Weight decay is for matrices: what a product contracts, not what is added, scaled with or looked up."""

from __future__ import annotations

import pytest
from weft.compiler.lower.model import compile_model
from weft.compiler.matrices import matrices
from weft.lang.program import STDLIB, load


def decayed(file: str, model: str) -> tuple[set[str], set[str]]:
    """Names of the last two parts of the decayed and of the other parameters."""
    module = compile_model(load(STDLIB / "models" / f"{file}.llm"), model)
    found = matrices(module)
    names = [(path, ".".join(path.split(".")[-2:])) for path, _ in module.parameters()]
    return {short for path, short in names if path in found}, {short for path, short in names if path not in found}


def test_biases_norms_and_tables_do_not_decay() -> None:
    yes, no = decayed("gpt2", "GPT2")
    assert yes == {"q.weight", "k.weight", "v.weight", "o.weight", "up.weight", "down.weight"}
    assert {"q.offset", "up.offset", "attn_norm.scale", "attn_norm.offset", "table.table", "embed.table"} <= no


def test_a_tied_head_is_a_table_and_an_untied_one_a_matrix() -> None:
    assert "embed.table" in decayed("gpt2", "GPT2")[1]
    assert "head.weight" in decayed("llama", "Llama3")[0]


@pytest.mark.parametrize("path", ["experts.gate", "mlp.router"])
def test_experts_and_their_router_decay(path: str) -> None:
    assert f"{path.split('.')[1]}.weight" in decayed("mixtral", "Mixtral")[0]


def test_what_a_recurrence_carries_does_not_decay() -> None:
    yes, no = decayed("rwkv", "RWKV")
    assert {"time.decay", "time.bonus"} <= no and "r.weight" in yes
