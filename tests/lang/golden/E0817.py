"""A table that is looked up, stored as only products can be."""

import weft
from weft.compiler.quantized import quantized
from weft.lang.program import STDLIB, load


def trigger() -> None:
    module = weft.compile(load(STDLIB / "models" / "llama.llm"), "Llama")
    quantized(module, {}, ["int8_dynamic() on embed"])
