"""A child with a name that every torch.nn.Module uses itself: only writing PyTorch source finds it."""

from weft.compiler.emit.torch import to_torch
from weft.compiler.lower.model import compile_model
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """use nn: Embedding, Linear

model Tiny(V: dim = 8, D: dim = 4) {
  embed = Embedding(V, D)
  half  = Linear(D, V)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> half }
}
"""


def trigger() -> None:
    to_torch(compile_model(load_source(Source("E0810.llm", TEXT)), "Tiny"))
