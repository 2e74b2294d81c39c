"""A weight beyond the range of float16."""

import numpy as np
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.scheme import Half


def trigger() -> None:
    quantize(np.array([[70000.0, 1.0]], np.float32), Half("float16"), name="head.weight")
