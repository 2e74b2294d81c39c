"""Groups of a size that no kernel reads."""

from weft.compiler.quantization.scheme import Grouped


def trigger() -> None:
    Grouped(bits=4, group=48)
