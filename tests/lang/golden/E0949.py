"""A temperature below zero."""

from weft.runtime.sampling import Sampling


def trigger() -> None:
    Sampling(temperature=-1.0)
