"""A model that changes a size, and has no adapters."""

from weft.compiler.adaptation import adaptation
from weft.lang.program import load_source
from weft.lang.source import Source


def trigger() -> None:
    text = "use models.gpt2: GPT2\nmodel Wide = GPT2 with { D = 1536 }\n"
    adaptation(load_source(Source("wide.llm", text)), "Wide")
