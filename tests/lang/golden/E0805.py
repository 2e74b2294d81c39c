"""An optimisation level that is none."""

from weft.compiler.passes.pipeline import passes


def trigger() -> None:
    passes("O3")
