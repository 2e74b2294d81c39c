"""The step of a model without a stream."""

import weft
from weft.compiler.stream import step
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """model Encoder(V: dim = 16, D: dim = 8) {
  param table: [V, D] = normal(std = 0.02)
  forward(tokens: int[B, T]) -> [B, T, D] { take(table, tokens, V) }
}
"""


def trigger() -> None:
    step(weft.compile(load_source(Source("E0509.llm", TEXT)), "Encoder"))
