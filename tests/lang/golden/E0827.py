"""Activations in 8 bits for a target that has no operator for them."""

import weft
from weft.compiler.passes.quantize import Choice
from weft.compiler.quantization.scheme import PerColumn
from weft.lang.program import STDLIB, load


def trigger() -> None:
    module = weft.step(weft.compile(load(STDLIB / "models" / "gpt2.llm"), "GPT2"), rows=True)
    weft.target(module, "cuda", quantize=(Choice(("blocks",), PerColumn()),))
