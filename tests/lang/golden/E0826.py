"""Few bits for a target that has no operators for them."""

import weft
from weft.compiler.passes.quantize import Choice
from weft.compiler.quantization.scheme import Grouped
from weft.lang.program import STDLIB, load


def trigger() -> None:
    module = weft.step(weft.compile(load(STDLIB / "models" / "gpt2.llm"), "GPT2"), rows=True)
    weft.target(module, "portable", quantize=(Choice(("blocks",), Grouped()),))
