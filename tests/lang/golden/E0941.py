"""A pattern without files."""

from pathlib import Path

from weft.runtime.documents import files


def trigger() -> None:
    files(("corpus/*.txt",), Path("specs"))
