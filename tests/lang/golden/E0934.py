"""A mask that is one column short."""

from tempfile import TemporaryDirectory

import weft
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.weights import random_weights
from weft.compiler.stream import step
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.session import Session

TEXT = """
use nn: Embedding
use recurrent: TokenShift
model Demo(V: dim = 7, D: dim = 4) {
  stream T as S
  embed = Embedding(V, D)
  shift = TokenShift(D)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> shift |> embed.logits }
}
"""


def trigger() -> None:
    module = weft.compile(load_source(Source("demo.llm", TEXT)), "Demo")
    with TemporaryDirectory() as folder:
        session = Session(to_onnx(step(module, rows=True), random_weights(module), folder))
        session.logits([[5, 6, 3]], [[1, 1]])
