"""A model of sentencepiece whose numbers the checkpoint has changed."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from weft.runtime.hub.tokenizer_files import tokenizer_text


def trigger() -> None:
    with TemporaryDirectory() as folder, chdir(folder):
        Path("checkpoint").mkdir()
        Path("checkpoint/sentencepiece.bpe.model").write_bytes(b"")
        tokenizer_text(Path("checkpoint"))
