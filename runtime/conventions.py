"""How a model wants its texts, as the files that came with it say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Conventions:
    """`ends` are the tokens that end a text, by name or number; () leaves it to the tokenizer.

    `begins` says whether the token `bos_token` stands in front of a text; None leaves it to the tokenizer. `special`
    are the special tokens by name (`eos_token`). `template` is the chat template: data, which nothing runs by itself.
    """

    ends: tuple[str | int, ...] = ()
    begins: bool | None = None
    special: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None

    def to_json(self) -> dict[str, Any]:
        special = dict(self.special)
        return {"ends": list(self.ends), "begins": self.begins, "special": special, "chat_template": self.template}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Conventions:
        return Conventions(tuple(found["ends"]), found["begins"], dict(found["special"]), found["chat_template"])
