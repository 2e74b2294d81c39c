"""A tokenizer that is not there."""

from pathlib import Path

from weft.runtime.tokenizer import Tokenizer


def trigger() -> None:
    Tokenizer.load(Path("no-such-tokenizer.json"))
