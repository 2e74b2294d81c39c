"""Drafts: tokens that may come next, proposed by something cheaper than the model that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from ..random import uniform
from ..sampling import Chances
from .ngram import Lookup
from .texts import Engine, Tokens
from .writer import Writer

DRAWN = 3
"""The kind of draw, among those that a token may take."""


@dataclass(frozen=True)
class Proposal:
    """Tokens, and the chances that each was drawn from; without them it was not drawn at all."""

    tokens: tuple[int, ...]
    chances: tuple[Chances, ...] = ()


class Draft(Protocol):
    """Proposes at most `count` tokens after a text; each call has the same text or a longer one."""

    def propose(self, text: Sequence[int], count: int, writer: Writer) -> Proposal: ...


class LookupDraft:
    """What followed the last tokens when they stood in the text before."""

    def __init__(self, longest: int) -> None:
        self._lookup = Lookup(longest)
        self._length = 0

    def propose(self, text: Sequence[int], count: int, writer: Writer) -> Proposal:
        self._lookup.push(text[self._length :])
        self._length = len(text)
        return Proposal(tuple(self._lookup.draft(count)))


class ModelDraft:
    """A smaller model with the same tokens, sampled in the same way."""

    def __init__(self, engine: Engine, source: Tokens = ()) -> None:
        self._texts = engine.open(1, [source] if source else ())
        self._context = engine.context
        self._length = 0  # of the text, as far as the model has read it
        self._tried: list[int] = []  # tokens of its own that it has read after that

    def propose(self, text: Sequence[int], count: int, writer: Writer) -> Proposal:
        pairs = zip(self._tried, text[self._length :], strict=False)
        right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._texts.cut(right)
        self._texts.mark()
        self._length, self._tried = self._length + right, []
        if self._context is not None and len(text) + count > self._context:
            return Proposal(())
        logits = self._texts.read([text[self._length :]])[0, -1]
        self._length = len(text)
        self._texts.mark()
        tokens: list[int] = []
        found: list[Chances] = []
        while True:
            found.append(writer.chances(logits, tokens))
            tokens.append(found[-1].at(uniform(writer.sampling.seed, len(writer.tokens) + len(tokens), DRAWN)))
            if len(tokens) == count:
                return Proposal(tuple(tokens), tuple(found))
            logits = self._texts.read([tokens[-1:]])[0, -1]
            self._tried.append(tokens[-1])
