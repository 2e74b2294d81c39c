"""Text from a model: a prompt, then one token after another until an end, a limit, or the reader stops."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
    end: Collection[int] = (),
    source: Sequence[int] = (),
) -> Iterator[int]:
    """The tokens after a prompt of at least one token, as they are chosen; those in `end` stop and are not given out.

    An engine with an encoder reads the `source` first. At most `maximum` tokens; without it LENGTH, or fewer when the
    engine's context ends before. WeftError when the prompt, or the prompt and `maximum`, do not fit the context.
    """
    room = None if engine.context is None else engine.context - len(prompt)
    wanted = maximum if maximum is not None else LENGTH if room is None else min(LENGTH, room)
    if wanted < 1:
        if room is not None and room < 1:
            raise WeftError(errors.context_exceeded(len(prompt) + 1, engine.context or 0))
        raise WeftError(errors.bad_sampling("maximum", wanted, "at least 1"))
    if room is not None and wanted > room:
        raise WeftError(errors.context_exceeded(len(prompt) + wanted, engine.context or 0))
    if engine.reads_source != bool(source):
        reason = "the model has an encoder, which reads one" if engine.reads_source else "the model has no encoder"
        raise WeftError(errors.session_input("source", reason))
    return _tokens(engine, prompt, sampling, wanted, end, source)


def _tokens(
    engine: Engine, prompt: Sequence[int], sampling: Sampling, wanted: int, end: Collection[int], source: Sequence[int]
) -> Iterator[int]:
    logits = engine.start(prompt, source)
    for number in range(wanted):
        token = choose(logits, sampling, number)
        if token in end:
            return
        yield token
        if number + 1 < wanted:
            logits = engine.step(token)


def generate_text(
    engine: Engine,
    tokenizer: Tokenizer,
    prompt: str,
    sampling: Sampling = GREEDY,
    *,
    maximum: int | None = None,
    begin: Sequence[int] = (),
    marked: bool = False,
) -> Iterator[str]:
    """The text after a prompt in pieces, as it comes. The prompt itself is not given out.

    The model reads first what stands in front of every text, as it did in training. One with an encoder reads the
    prompt as its source, and writes a text of its own, which starts with the tokens `begin` (or the end token). In a
    prompt that is `marked` special tokens stand by their names, those in front included: a chat.
    """
    source: Sequence[int] = ()
    if engine.reads_source:
        source = tokenizer.encode_marked(prompt) if marked else tokenizer.encode_source(prompt)
        ids = list(begin) or [tokenizer.end]
    else:
        ids = tokenizer.encode_marked(prompt) if marked else [*tokenizer.first, *tokenizer.encode(prompt)]
    ids = ids or [tokenizer.end]  # a model that wants nothing in front still needs something to go on from
    stream = TextStream(tokenizer, () if engine.reads_source else ids[-1:])
    for token in generate(engine, ids, sampling, maximum=maximum, end=tokenizer.ends, source=source):
        piece = stream.push(token)
        if piece:
            yield piece
    rest = stream.finish()
    if rest:
        yield rest
