"""Text from a model: a prompt, then one token after another until an end, a limit, or the reader stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..lang import errors
from ..lang.diagnostics import WeftError
from .engines import Engine
from .sampling import GREEDY, Sampling, choose
from .tokenizer import TextStream, Tokenizer

LENGTH = 256
"""New tokens when nobody says how many."""


def generate(
    engine: Engine,
    prompt: Sequence[int],
    sampling: Sampling = GREEDY,
    *,
    maximum: int | None = None,
    end: int | None = None,
) -> Iterator[int]:
    """The tokens after a prompt of at least one token, as they are chosen; `end` stops and is not given out.

    At most `maximum` tokens; without it LENGTH, or fewer when the engine's context ends before. WeftError when the
    prompt, or the prompt and `maximum`, do not fit the context.
    """
    room = None if engine.context is None else engine.context - len(prompt)
    wanted = maximum if maximum is not None else LENGTH if room is None else min(LENGTH, room)
    if wanted < 1:
        if room is not None and room < 1:
            raise WeftError(errors.context_exceeded(len(prompt) + 1, engine.context or 0))
        raise WeftError(errors.bad_sampling("maximum", wanted, "at least 1"))
    if room is not None and wanted > room:
        raise WeftError(errors.context_exceeded(len(prompt) + wanted, engine.context or 0))
    return _tokens(engine, prompt, sampling, wanted, end)


def _tokens(engine: Engine, prompt: Sequence[int], sampling: Sampling, wanted: int, end: int | None) -> Iterator[int]:
    logits = engine.start(prompt)
    for number in range(wanted):
        token = choose(logits, sampling, number)
        if token == end:
            return
        yield token
        if number + 1 < wanted:
            logits = engine.step(token)


def generate_text(
    engine: Engine, tokenizer: Tokenizer, prompt: str, sampling: Sampling = GREEDY, *, maximum: int | None = None
) -> Iterator[str]:
    """The text after a prompt in pieces, as it comes. The prompt itself is not given out.

    The model reads the token that begins every document first, as it did in training.
    """
    ids = [tokenizer.end, *tokenizer.encode(prompt)]
    stream = TextStream(tokenizer, ids[-1:])
    for token in generate(engine, ids, sampling, maximum=maximum, end=tokenizer.end):
        piece = stream.push(token)
        if piece:
            yield piece
    rest = stream.finish()
    if rest:
        yield rest
