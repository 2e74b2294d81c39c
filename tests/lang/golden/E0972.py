"""A bottleneck, which is not linear."""

from weft.compiler.adaptation import adapt
from weft.lang.program import STDLIB, load
from weft.runtime.adapters.merge import merge


def trigger() -> None:
    program = load(STDLIB / "models" / "gpt2.llm")
    list(merge(adapt(program, "GPT2", ["bottleneck(width = 8) on blocks.mlp"]), {}))
