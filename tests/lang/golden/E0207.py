"""A model that the file does not have is only asked for by name."""

import weft
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """\
model Tiny(D: dim = 8) {
  forward(x: [B, D]) -> [B, D] { x }
}
"""


def trigger() -> None:
    weft.compile(load_source(Source("tiny.llm", TEXT)), "Tiney")
