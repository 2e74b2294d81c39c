"""A file that is not there."""

import weft


def trigger() -> None:
    weft.load("missing.llm")
