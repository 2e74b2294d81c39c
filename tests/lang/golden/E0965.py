"""Two adapters with different weights."""

import tempfile

import numpy as np
import weft
from weft.compiler.emit.onnx import to_onnx
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
model Demo(D: dim = 8) {
  param scale: [D] = ones
  param shift: [D] = zeros
  forward(x: [B, D]) -> [B, D] { x * scale + shift }
}
"""


def trigger() -> None:
    module = weft.compile(load_source(Source("demo.llm", TEXT)), "Demo")
    weights = {"scale": np.ones(8), "shift": np.zeros(8)}
    with tempfile.TemporaryDirectory() as folder:
        to_onnx(module, weights, folder, adapters={"formal": {"shift": np.ones(8)}, "short": {}})
