"""The tokenizer of a checkpoint: its tokenizer.json, or one made from the older files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from ...lang import errors
from ...lang.diagnostics import WeftError
from .pieces import read_pieces
from .tensors import read_json
from .vocabularies import NAMED, read_byte_pairs, read_word_pieces

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

_RENUMBERED = ("sentencepiece.bpe.model", "source.spm", "target.spm")
"""Models of sentencepiece whose pieces have other numbers in the checkpoint than in the file."""


def tokenizer_text(folder: Path) -> str | None:
    """The text of a tokenizer.json for a checkpoint; None when it has no tokenizer at all.

    Raises WeftError for files that only the library they come from can read.
    """
    if (folder / TOKENIZER).is_file():
        return (folder / TOKENIZER).read_text("utf-8")
    settings = _object(folder / SETTINGS)
    special = special_tokens(folder)
    pieces = next((p for p in (folder / "tokenizer.model", folder / "spiece.model") if p.is_file()), None)
    renumbered = next((name for name in _RENUMBERED if (folder / name).is_file()), None)
    if pieces is not None:
        found = read_pieces(pieces, settings)
    elif renumbered is not None:
        reason = "the checkpoint numbers its pieces in another way than the file"
        raise WeftError(errors.unconvertible_tokenizer(str(folder / renumbered), reason))
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        found = read_byte_pairs(folder, settings, special)
    elif (folder / "vocab.txt").is_file():
        found = read_word_pieces(folder, settings, special)
    else:
        return None
    _add(found, folder, settings, special)
    return str(found.to_str(pretty=True))


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that a folder names (`bos_token` ..), by name."""
    found: dict[str, str] = {}
    for file in ("special_tokens_map.json", SETTINGS):
        known = _object(folder / file)
        found |= {name: content for name in NAMED if (content := _content(known.get(name))) is not None}
    return found


def _content(token: Any) -> str | None:
    """A token that is a text, or an object with one."""
    value = token.get("content") if isinstance(token, Mapping) else token
    return value if isinstance(value, str) else None


def _object(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _add(tokenizer: Tokenizer, folder: Path, settings: Mapping[str, Any], special: Mapping[str, str]) -> None:
    """Tokens beside the vocabulary, under the numbers that the checkpoint gives them."""
    listed = settings.get("added_tokens_decoder", {})
    tokens = {content: int(i) for i, token in listed.items() if (content := _content(token)) is not None}
    tokens = tokens or {str(token): int(i) for token, i in _object(folder / "added_tokens.json").items()}
    marked = {c for token in listed.values() if isinstance(token, Mapping) and (c := _content(token)) is not None
              and token.get("special")} | set(special.values())  # fmt: skip
    for content, number in sorted(tokens.items(), key=lambda entry: entry[1]):
        tokenizer.add_tokens([AddedToken(content, normalized=False, special=content in marked)])
        if tokenizer.token_to_id(content) != number:
            reason = f"`{content}` would be token {tokenizer.token_to_id(content)}, the checkpoint has it as {number}"
            raise WeftError(errors.unconvertible_tokenizer(str(folder), reason))
    lacking = [token for token in special.values() if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in dict.fromkeys(lacking)])
