"""A method that looks at the inputs of a matrix, and nothing to look at."""

import weft
from weft.compiler.quantized import quantized
from weft.lang.program import STDLIB, load


def trigger() -> None:
    module = weft.compile(load(STDLIB / "models" / "llama.llm"), "Llama")
    quantized(module, {}, ["int4(group = 32, method = gptq) on all Linear"])
