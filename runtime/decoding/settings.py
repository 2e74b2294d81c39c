"""How a text is to be written: what is chosen, where it ends, and what is told about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..sampling import GREEDY, Sampling

LENGTH = 256
"""New tokens when nobody says how many."""


@dataclass(frozen=True)
class Settings:
    """How texts are written.

    `maximum` new tokens at most (None: LENGTH, or what fits the context). Tokens in `end` end a text and are no part of
    it; it is cut before the first of the strings in `stop`. `seeds` has one per row; without it every row has the
    sampling's, so a text does not depend on its place in a batch.

    With several `beams`, the text with the greatest sum of log-probabilities / length ^ `length_penalty` is searched
    for (Wu et al. 2016 in the form of `transformers`: above 0 favours long texts). `logprobs` asks for the
    log-probability of every chosen token, and of so many of the likeliest. `ahead` is how many tokens a draft proposes
    at a time; `ngram` drafts by looking up the last so many tokens in the text itself. WeftError (E0949, E0980) for
    values that are out of range or do not go together.
    """

    sampling: Sampling = GREEDY
    maximum: int | None = None
    end: Collection[int] = ()
    stop: Sequence[str] = ()
    seeds: Sequence[int] = ()
    beams: int = 1
    length_penalty: float = 1.0
    logprobs: int | None = None
    ahead: int = 4
    ngram: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("maximum", 1), ("beams", 1), ("logprobs", 0), ("ahead", 1), ("ngram", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise WeftError(errors.bad_sampling(name, value, f"at least {least}"))
        if not abs(self.length_penalty) < float("inf"):
            raise WeftError(errors.bad_sampling("length_penalty", self.length_penalty, "a number"))
        if any(not text for text in self.stop):
            raise WeftError(errors.bad_sampling("stop", "an empty string", "at least one character"))
        if self.beams > 1 and not self.sampling.greedy:
            raise WeftError(errors.no_such_decoding("a beam search draws nothing", "leave the temperature at 0"))
        if self.beams > 1 and self.logprobs:
            reason = "a beam search tells the log-probabilities of the tokens that it chose alone"
            raise WeftError(errors.no_such_decoding(reason, "give `logprobs` 0"))
        if self.beams > 1 and self.ngram is not None:
            raise WeftError(errors.no_such_decoding("a beam search takes no draft", "give `beams` or a draft"))

    def ending(self, end: Collection[int]) -> Settings:
        """The same with other tokens that end a text."""
        return replace(self, end=end)

    def row(self, number: int) -> Sampling:
        """How a row is sampled."""
        return replace(self.sampling, seed=self.seeds[number]) if self.seeds else self.sampling


def rooms(lengths: Sequence[int], maximum: int | None, context: int | None) -> list[int]:
    """How many tokens each text may get, from the lengths of their prompts. WeftError (E0948) where they do not fit."""
    found = []
    for length in lengths:
        room = None if context is None else context - length
        wanted = maximum if maximum is not None else LENGTH if room is None else min(LENGTH, room)
        if wanted < 1:
            raise WeftError(errors.context_exceeded(length + 1, context or 0))
        if room is not None and wanted > room:
            raise WeftError(errors.context_exceeded(length + wanted, context or 0))
        found.append(wanted)
    return found
