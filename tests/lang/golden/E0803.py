"""An attribute that has no written form."""

from weft.compiler.ir.words import attribute


def trigger() -> None:
    attribute({"rate": 0.1})
