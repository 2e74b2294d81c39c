"""A model with a table of positions can look at as many tokens as the table has rows; others at any number."""

from __future__ import annotations

import pytest
import weft
from weft.compiler.context import longest_context
from weft.lang.program import STDLIB


@pytest.mark.parametrize(
    ("file", "name", "longest"),
    [("gpt2", "GPT2", 1024), ("bert", "Bert", 512), ("llama", "Llama3", None), ("rwkv", "RWKV", None)],
)
def test_the_context_ends_where_the_positions_end(file: str, name: str, longest: int | None) -> None:
    module = weft.compile(weft.load(STDLIB / "models" / f"{file}.llm"), name)
    assert longest_context(module) == longest
