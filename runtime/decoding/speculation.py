"""Speculative decoding: a draft proposes several tokens, one step of the model checks them all.

Leviathan, Kalman and Matias 2023, Algorithm 1: the text has the distribution that the model alone gives it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..random import uniform
from ..sampling import Chances
from .drafts import Draft, Proposal
from .texts import Array, Texts, Tokens
from .writer import Piece, Writer

ACCEPTED, REPLACED = 1, 2
"""Kinds of draws, among those that a token may take."""


def write_ahead(texts: Texts, prompt: Tokens, writer: Writer, draft: Draft, ahead: int) -> Iterator[Piece]:
    """The pieces of one text; a piece holds as many tokens as one step of the model brought."""
    logits = texts.read([prompt])[0]
    texts.mark()
    proposal = Proposal(())
    while True:
        before = len(writer.tokens)
        text = _check(logits, proposal, writer)
        yield writer.piece(writer.tokens[before:], text)
        if writer.finish is not None:
            return
        # Of the new tokens the last was chosen by the model, and is still to be read; those before it were accepted.
        texts.cut(len(writer.tokens) - before)
        count = min(ahead, writer.wanted - len(writer.tokens) - 1)
        proposal = draft.propose([*prompt, *writer.tokens], count, writer) if count > 0 else Proposal(())
        texts.mark()
        logits = texts.read([[writer.tokens[-1], *proposal.tokens]], len(proposal.tokens) + 1)[0]


def _check(logits: Array, proposal: Proposal, writer: Writer) -> str:
    """Takes over what is accepted of a proposal, and one token more; the text that is certain with them.

    `logits` [n + 1, V] are those after the text and after each of the n tokens that are proposed.
    """
    writer.proposed += len(proposal.tokens)
    said = ""
    for place, wanted in enumerate(proposal.tokens):
        token = _decide(logits[place], proposal, place, writer)
        said += writer.push(token, logits[place])
        if token != wanted:
            return said
        writer.accepted += 1
        if writer.finish is not None:
            return said
    return said + writer.push(writer.choose(logits[-1]), logits[-1])


def _decide(logits: Array, proposal: Proposal, place: int, writer: Writer) -> int:
    """The next token. A proposal that was not drawn is as good as one: what the model draws by itself decides."""
    if not proposal.chances or writer.sampling.greedy:
        return writer.choose(logits)
    seed, number = writer.sampling.seed, len(writer.tokens)
    points = uniform(seed, number, ACCEPTED), uniform(seed, number, REPLACED)
    return accept(writer.chances(logits), proposal.chances[place], proposal.tokens[place], len(logits), *points)


def accept(model: Chances, draft: Chances, token: int, vocabulary: int, point: float, other: float) -> int:
    """A token with the chances p of the model, from one that was drawn with the chances q of a draft.

    It stays with probability min(1, p / q), else another is drawn from max(0, p - q), normalised. `point` and `other`
    are two draws from 0 to below 1.
    """
    if point * draft.of(token) < model.of(token):
        return token
    left = np.maximum(model.dense(vocabulary) - draft.dense(vocabulary), 0)
    # Where p and q differ by rounding alone nothing is left: then both are what is wanted.
    return Chances(np.arange(vocabulary), left).at(other) if left.any() else model.at(other)
