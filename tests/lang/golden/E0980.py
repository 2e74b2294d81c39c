"""A beam search that is to draw."""

from weft.runtime.decoding.settings import Settings
from weft.runtime.sampling import Sampling


def trigger() -> None:
    Settings(Sampling(0.8), beams=4)
