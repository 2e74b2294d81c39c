"""The tokens that the decoder of an imported encoder-decoder starts its text with."""

from __future__ import annotations

from pathlib import Path

from .record import CONFIG
from .tensors import read_json

# Where the first token is kept, and one that has to follow it; what is said for generation goes before the config.
FILES = ("generation_config.json", CONFIG)
KEYS = ("decoder_start_token_id", "forced_bos_token_id")


def begin(folder: Path) -> tuple[int, ...]:
    """The start of every text of a decoder, from the files that came with a checkpoint; () where they say nothing."""
    known = [read_json(folder / name) for name in FILES if (folder / name).is_file()]
    found = [next((c[key] for c in known if isinstance(c.get(key), int)), None) for key in KEYS]
    return tuple(token for token in found if token is not None) if found[0] is not None else ()
