"""An export into a folder that holds other files."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

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
    before = os.getcwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("documents").mkdir()
            Path("documents/thesis.txt").write_text("years of work")
            to_onnx(module, {"scale": np.ones(8)}, "documents")
        finally:
            os.chdir(before)
