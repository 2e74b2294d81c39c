"""Texts from an engine: one token after another until an end, a stop string, a limit, or the reader stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..tokenizer import Tokenizer
from .beams import write_beams
from .drafts import Draft, LookupDraft, ModelDraft
from .rows import write_rows
from .settings import Settings, rooms
from .speculation import write_ahead
from .texts import Engine, Tokens
from .writer import Piece, Result, Writer


def stream(
    engine: Engine,
    prompts: Sequence[Tokens],
    settings: Settings,
    sources: Sequence[Tokens] = (),
    tokenizer: Tokenizer | None = None,
    draft: Engine | None = None,
) -> Iterator[Piece]:
    """What is written after prompts of at least one token each, piece by piece as it is chosen.

    Prompts are written on side by side; with a `draft` (or `settings.ngram`) one after the other. An engine with an
    encoder reads one of the `sources` for each first. With a tokenizer pieces hold text. WeftError (E0934, E0948,
    E0980, E0981) before anything is read, when something does not fit.
    """
    if not prompts or not all(prompts):
        raise WeftError(errors.session_input("prompts", "each must have at least one token"))
    if settings.seeds and len(settings.seeds) != len(prompts):
        reason = f"there are {len(settings.seeds)} for {len(prompts)} prompts"
        raise WeftError(errors.session_input("seeds", reason))
    if settings.stop and tokenizer is None:
        raise WeftError(errors.no_such_decoding("stop strings need a tokenizer", "give end tokens instead"))
    _check_sources(engine, len(prompts), sources)
    wanted = rooms([len(prompt) for prompt in prompts], settings.maximum, engine.context)
    writers = [
        Writer(row, prompt, settings, room, tokenizer, () if engine.reads_source else prompt[-1:])
        for row, (prompt, room) in enumerate(zip(prompts, wanted, strict=True))
    ]
    if draft is not None or settings.ngram is not None:
        return _write_ahead(engine, prompts, writers, settings, sources, draft)
    if settings.beams > 1:
        return write_beams(engine.open(len(prompts), sources), prompts, writers, settings)
    return write_rows(engine.open(len(prompts), sources), prompts, writers)


def results(pieces: Iterator[Piece], told: Callable[[Piece], None] | None = None) -> list[Result]:
    """All texts once they have ended, in the order of their prompts; each piece is told of as it comes."""
    found: dict[int, Result] = {}
    for piece in pieces:
        if told is not None:
            told(piece)
        if piece.result is not None:
            found[piece.row] = piece.result
    return [found[row] for row in sorted(found)]


def _check_sources(engine: Engine, count: int, sources: Sequence[Tokens]) -> None:
    if engine.reads_source != bool(sources):
        reason = "the model has an encoder, which reads one" if engine.reads_source else "the model has no encoder"
        raise WeftError(errors.session_input("source", reason))
    if sources and (len(sources) != count or not all(sources)):
        raise WeftError(errors.session_input("source", "each prompt needs one of at least one token"))


def _write_ahead(
    engine: Engine, prompts: Sequence[Tokens], writers: Sequence[Writer], settings: Settings, sources: Sequence[Tokens],
    draft: Engine | None,
) -> Iterator[Piece]:
    if draft is not None and (settings.ngram is not None or settings.beams > 1):
        raise WeftError(errors.no_such_decoding("one draft at a time, and no beams", "give a draft alone"))
    if draft is not None and draft.reads_source != engine.reads_source:
        raise WeftError(errors.session_input("draft", "either both models have an encoder or none"))
    sizes = (draft.vocabulary, engine.vocabulary) if draft else (None, None)
    if sizes[0] and sizes[1] and sizes[0] != sizes[1]:
        raise WeftError(errors.draft_misfit(sizes[0], sizes[1]))
    return _one_after_another(engine, prompts, writers, settings, sources, draft)


def _one_after_another(
    engine: Engine, prompts: Sequence[Tokens], writers: Sequence[Writer], settings: Settings, sources: Sequence[Tokens],
    draft: Engine | None,
) -> Iterator[Piece]:
    for row, (prompt, writer) in enumerate(zip(prompts, writers, strict=True)):
        source = sources[row : row + 1]
        proposing: Draft
        if draft is None:
            assert settings.ngram is not None
            proposing = LookupDraft(settings.ngram)
        else:
            proposing = ModelDraft(draft, source[0] if source else ())
        yield from write_ahead(engine.open(1, source), prompt, writer, proposing, settings.ahead)

