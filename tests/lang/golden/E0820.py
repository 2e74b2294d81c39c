"""A pass that is none."""

from weft.compiler.catalogue import find_passes


def trigger() -> None:
    find_passes(["fold", "flaten"], ())
