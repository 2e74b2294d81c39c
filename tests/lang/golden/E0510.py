"""Padding for a model that has no rows."""

import weft
from weft.compiler.stream import rows
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """model Single(V: dim = 16, D: dim = 8) {
  param table: [V, D] = normal(std = 0.02)
  forward(tokens: int[T]) -> [T, D] { take(table, tokens, V) }
}
"""


def trigger() -> None:
    rows(weft.compile(load_source(Source("E0510.llm", TEXT)), "Single"))
