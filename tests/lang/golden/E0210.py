"""Bytes that are no UTF-8."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import weft


def trigger() -> None:
    with TemporaryDirectory() as folder, chdir(folder):
        Path("latin.llm").write_bytes("# caf\xe9\n".encode("latin-1"))
        weft.load("latin.llm")
