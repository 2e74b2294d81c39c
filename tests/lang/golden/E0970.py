"""A method that stands in for an embedding, asked for on a linear map."""

from weft.compiler.adaptation import adapt
from weft.lang.program import STDLIB, load


def trigger() -> None:
    program = load(STDLIB / "models" / "gpt2.llm")
    adapt(program, "GPT2", ["prompt(count = 8) on blocks.mlp.up"])
