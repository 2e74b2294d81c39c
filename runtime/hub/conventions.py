"""The conventions of a checkpoint, read from the files beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..conventions import Conventions
from .tensors import read_json
from .tokenizer_files import SETTINGS, special_tokens

GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"


def conventions(folder: Path) -> Conventions | None:
    """Those of an imported run; None when no file says any.

    A text ends with `eos_token` of tokenizer_config.json and with each `eos_token_id` of generation_config.json.
    `add_bos_token` says whether it begins with `bos_token`.
    """
    if not any((folder / name).is_file() for name in (SETTINGS, GENERATION)):
        return None
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    generation = read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    special = special_tokens(folder)
    listed = generation.get("eos_token_id")
    numbers = [i for i in (listed if isinstance(listed, list) else [listed]) if type(i) is int]
    named = [special["eos_token"]] if "eos_token" in special else []
    begins = settings.get("add_bos_token")
    begins = begins if isinstance(begins, bool) else None
    return Conventions((*named, *numbers), begins, special, _template(folder, settings))


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template: a file of its own, or a setting, of several the one called `default`."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text("utf-8")
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, Mapping)}
        found = named.get("default")
    return found if isinstance(found, str) else None
