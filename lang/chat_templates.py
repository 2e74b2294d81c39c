"""The chat templates that a recipe names: files of the standard library in the convention of Hugging Face."""

from __future__ import annotations

from .program import STDLIB

TEMPLATES = STDLIB / "templates"
"""The folder of the templates, `NAME.jinja` each. They read `messages` (`role` and `content` of each), `bos_token`,
`eos_token` and `add_generation_prompt`, as the `chat_template` of a checkpoint does."""


def template_names() -> tuple[str, ...]:
    """What `chat(.., template = NAME)` may name, in order."""
    return tuple(sorted(path.stem for path in TEMPLATES.glob("*.jinja")))
