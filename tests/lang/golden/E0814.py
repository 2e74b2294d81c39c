"""Formats that are all larger than the budget."""

from weft.compiler.quantization.mixed import Cost, mixed


def trigger() -> None:
    mixed({"up": {4: Cost(100, 0.2), 8: Cost(190, 0.01)}, "down": {4: Cost(100, 0.3)}}, budget=150)
