"""What other programs are told of the texts of an export: special tokens by number, and tokenizer_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SETTINGS = "tokenizer_config.json"


def special_numbers(metadata: Mapping[str, Any], tokenizer: str | None) -> dict[str, Any]:
    """`bos_token_id`, `eos_token_id` (one or several) and `pad_token_id`, as far as they are known.

    `text` of the metadata are the conventions of the export (`ends`, `special`), `tokenizer` is its tokenizer.json.
    """
    text = metadata.get("text", {})
    numbers = {} if tokenizer is None else _numbers(json.loads(tokenizer))
    special = {name: numbers.get(token) for name, token in text.get("special", {}).items()}
    named = (numbers.get(end) if isinstance(end, str) else end for end in text.get("ends", ()))
    ends = list(dict.fromkeys(end for end in named if end is not None))
    begin, fill = special.get("bos_token"), special.get("pad_token")
    if fill is None:
        fill = ends[0] if ends else None
    found = {"bos_token_id": begin, "eos_token_id": ends[0] if len(ends) == 1 else ends or None, "pad_token_id": fill}
    return {name: number for name, number in found.items() if number is not None}


def _numbers(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by name: those of the vocabulary and those added to it."""
    words = tokenizer.get("model", {}).get("vocab", {})
    listed = {word[0]: i for i, word in enumerate(words)} if isinstance(words, list) else dict(words)
    return listed | {token["content"]: token["id"] for token in tokenizer.get("added_tokens", ())}


def settings(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer_config.json that goes with a tokenizer.json, which says how texts are cut."""
    text, context = metadata.get("text", {}), metadata.get("context")
    begins, template = text.get("begins"), text.get("chat_template")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **({} if context is None else {"model_max_length": context}),
        **({} if begins is None else {"add_bos_token": begins}),
        **text.get("special", {}),
        **({} if template is None else {"chat_template": template}),
    }
