"""Weights of another width."""

import tempfile

import numpy as np
import weft
from weft.compiler.emit.onnx import to_onnx
from weft.lang.program import load_source
from weft.lang.source import Source

TEXT = """
model Demo(D: dim = 8) {
  param scale: [D] = ones
  forward(x: [B, D]) -> [B, D] { x * scale }
}
"""


def trigger() -> None:
    module = weft.compile(load_source(Source("demo.llm", TEXT)), "Demo")
    with tempfile.TemporaryDirectory() as folder:
        to_onnx(module, {"scale": np.ones(7)}, folder)
