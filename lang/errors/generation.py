"""Errors of tokenizers, chat templates and generation (E094x, E095x)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from .base import code, finding, shorten


@code("E0947", "unreadable tokenizer")
def bad_tokenizer(path: str, reason: str) -> Diagnostic:
    return finding(
        f"`{path}` is not a usable tokenizer: {shorten(reason, 200)}",
        help=('give a `tokenizer.json` of the tokenizers library, as in `tokenizer file("tokenizer.json")`',),
    )


@code("E0948", "text longer than the context")
def context_exceeded(length: int, context: int) -> Diagnostic:
    return finding(
        f"{length:,} tokens do not fit the context of {context:,}",
        help=("shorten the prompt, ask for fewer tokens, or export with a larger `context`",),
    )


@code("E0949", "sampling option out of range")
def bad_sampling(name: str, value: object, bounds: str) -> Diagnostic:
    return finding(f"`{name}` must be {bounds}, not {value}")


@code("E0950", "tokenizer and model do not fit")
def tokenizer_misfit(tokens: int, model: str, size: int) -> Diagnostic:
    return finding(
        f"the tokenizer has {tokens:,} tokens, but `{model}` knows only {size:,}",
        help=(f"give the model `V = {tokens}` or more",),
    )


@code("E0958", "tokenizer that cannot be converted")
def unconvertible_tokenizer(path: str, reason: str) -> Diagnostic:
    return finding(
        f"`{path}` cannot be made a tokenizer.json: {shorten(reason, 200)}",
        help=(
            "save one with the library that the checkpoint comes from and give it with `--tokenizer tokenizer.json`",
            "import without it: `--tokenizer none`",
        ),
    )


@code("E0959", "chat template that is refused")
def bad_chat_template(reason: str, advice: Sequence[str] = ()) -> Diagnostic:
    return finding(f"the chat template is refused: {shorten(reason, 200)}", help=advice)


@code("E0980", "decoding that is not possible so")
def no_such_decoding(reason: str, advice: str) -> Diagnostic:
    return finding(f"the text cannot be written so: {reason}", help=(advice,))


@code("E0981", "draft with other tokens")
def draft_misfit(tokens: int, wanted: int) -> Diagnostic:
    return finding(
        f"the draft knows {tokens:,} tokens, the model {wanted:,}",
        help=("take a draft that was trained with the same tokenizer",),
    )
