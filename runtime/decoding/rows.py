"""Texts that are written side by side, one token each at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .texts import Texts, Tokens
from .writer import Piece, Writer


def write_rows(texts: Texts, prompts: Sequence[Tokens], writers: Sequence[Writer]) -> Iterator[Piece]:
    """The pieces of all rows as they come; a row that has ended is read no further."""
    logits, going = texts.read(prompts), list(writers)
    while True:
        for writer, values in zip(going, logits[:, -1], strict=True):
            token = writer.choose(values)
            text = writer.push(token, values)
            yield writer.piece((token,) if writer.finish != "end" else (), text)
        left = [place for place, writer in enumerate(going) if writer.finish is None]
        if not left:
            return
        if len(left) < len(going):
            going = [going[place] for place in left]
            texts.keep(left)
        logits = texts.read([writer.tokens[-1:] for writer in going])
