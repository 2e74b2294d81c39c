"""Rows that the model compares with each other cannot be padded."""

import weft
from weft.compiler.stream import rows
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """model Centred(V: dim = 16, D: dim = 8) {
  stream T as S
  param table: [V, D] = normal(std = 0.02)
  forward(tokens: int[B, T]) -> [B, T, V] {
    x = take(table, tokens, V)
    dot(x - mean(x, B), table, D)
  }
}
"""


def trigger() -> None:
    rows(weft.compile(load_source(Source("E0507.llm", TEXT)), "Centred"))
