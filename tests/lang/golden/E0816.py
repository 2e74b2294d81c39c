"""Groups that are wider than the rows of a weight."""

import weft
from weft.compiler.quantized import quantized
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
use models.llama: Llama
model Small = Llama with {
  V = 512
  D = 96
  F = 256
  H = 4
  G = 2
  layers = 2
}
"""


def trigger() -> None:
    module = weft.compile(load_source(Source("small.llm", TEXT)), "Small")
    quantized(module, {}, ["int4(group = 128) on all Linear"])
