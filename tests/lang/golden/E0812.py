"""A weight with an infinite value."""

import numpy as np
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.scheme import Grouped


def trigger() -> None:
    quantize(np.array([[1.0, np.inf]], np.float32), Grouped(bits=4), name="blocks.0.up.weight")
