"""Two kinds of adapters in one model."""

from pathlib import Path

from weft.compiler.adaptation import adapt
from weft.lang.program import STDLIB, load
from weft.runtime.adapters.peft_writing import write_adapter


def trigger() -> None:
    program = load(STDLIB / "models" / "gpt2.llm")
    selections = ["bottleneck(width = 8) on blocks.mlp", "lora(rank = 8, alpha = 16) on blocks.attn"]
    write_adapter(Path("adapter"), adapt(program, "GPT2", selections), {}, ())
