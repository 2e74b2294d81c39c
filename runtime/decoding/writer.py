"""One text as it is written: the next token of it, the text that is certain, and whether it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..sampling import Array, Chances, chances, choose, likeliest, log_chances
from ..tokenizer import TextStream, Tokenizer
from .settings import Settings
from .stop import StopStrings


@dataclass(frozen=True)
class Choice:
    """A token that was chosen: its log-probability under the model alone, and those of the likeliest tokens."""

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Result:
    """A text that has ended. `text` is None where there is no tokenizer.

    `finish` is "end" (an end token), "stop" (a stop string, which `tokens` still hold and `text` does not) or "length".
    `choices` has one entry per token, and one for the end token, if they were asked for. Of what a draft `proposed`,
    `accepted` tokens stayed. `score` is a beam search's.
    """

    tokens: tuple[int, ...]
    text: str | None
    finish: str
    choices: tuple[Choice, ...] = ()
    proposed: int = 0
    accepted: int = 0
    score: float | None = None


@dataclass(frozen=True)
class Piece:
    """What came to the text of a row: its tokens, the text that they made certain, and the result once it has ended."""

    row: int
    tokens: tuple[int, ...]
    text: str
    result: Result | None = None


class Writer:
    """Writes one text. `before` are tokens that the first of its own stand behind, `wanted` the most it may have."""

    def __init__(
        self, row: int, prompt: Sequence[int], settings: Settings, wanted: int, tokenizer: Tokenizer | None,
        before: Sequence[int] = (),
    ) -> None:
        self.row, self.wanted, self.sampling = row, wanted, settings.row(row)
        self.tokens: list[int] = []
        self.finish: str | None = None
        self.proposed = self.accepted = 0
        self._settings, self._tokenizer, self._before = settings, tokenizer, list(before)
        self._seen = set(prompt) if self.sampling.repetition_penalty != 1 else set[int]()
        self._stream = TextStream(tokenizer, before) if tokenizer else None
        self._stop = StopStrings(settings.stop)
        self._text: list[str] = []
        self._choices: list[Choice] = []

    def choose(self, logits: Array) -> int:
        """The next token, from logits [V]."""
        return choose(logits, self.sampling, len(self.tokens), self._seen)

    def chances(self, logits: Array, after: Sequence[int] = ()) -> Chances:
        """What may come, from logits [V], after the text and some tokens more."""
        return chances(logits, self.sampling, self._seen.union(after) if self._seen else self._seen)

    def push(self, token: int, logits: Array | None = None) -> str:
        """Takes a token that was chosen from logits [V]; the text that is certain with it."""
        settings = self._settings
        if settings.logprobs is not None and logits is not None:
            self._choices.append(_choice(token, logits, settings.logprobs))
        if token in settings.end:
            self.finish = "end"
            return self._said(self._rest())
        self.tokens.append(token)
        if self.sampling.repetition_penalty != 1:
            self._seen.add(token)
        text = self._stop.push(self._stream.push(token)) if self._stream else ""
        if self._stop.found is not None:
            self.finish = "stop"
        elif len(self.tokens) == self.wanted:
            self.finish = "length"
            text += self._rest()
        return self._said(text)

    def holds_stop(self, tokens: Sequence[int]) -> bool:
        """Whether a text of these tokens, written here, would hold a stop string."""
        if self._tokenizer is None or not self._settings.stop:
            return False
        before = self._tokenizer.decode(self._before)
        text = self._tokenizer.decode([*self._before, *tokens])[len(before) :]
        return any(string in text for string in self._settings.stop)

    def result(self) -> Result:
        """The text once it has ended."""
        assert self.finish is not None
        text = "".join(self._text) if self._stream else None
        return Result(tuple(self.tokens), text, self.finish, tuple(self._choices), self.proposed, self.accepted)

    def piece(self, tokens: Sequence[int], text: str) -> Piece:
        return Piece(self.row, tuple(tokens), text, self.result() if self.finish else None)

    def _said(self, text: str) -> str:
        self._text.append(text)
        return text

    def _rest(self) -> str:
        """What was held back; it may still hold a stop string."""
        if self._stream is None:
            return ""
        text = self._stop.push(self._stream.finish())
        if self._stop.found is not None:
            self.finish = "stop"
            return text
        return text + self._stop.finish()


def _choice(token: int, logits: Array, count: int) -> Choice:
    values = log_chances(logits)
    best = likeliest(values, count) if count else ()
    return Choice(token, float(values[token]), tuple((int(i), float(values[i])) for i in best))
