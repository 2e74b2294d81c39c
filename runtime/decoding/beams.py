"""Beam search: several beginnings of a text at a time, and the best of the texts that ended.

The search of `transformers` with `early_stopping=False`: a text that ends counts its sum of log-probabilities divided
by length ^ penalty; the search ends when the best beginning, taken as if it ended now, is worse than all kept texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..sampling import likeliest, log_chances, penalised
from .settings import Settings
from .texts import Array, Texts, Tokens
from .writer import Choice, Piece, Writer


@dataclass(frozen=True)
class Line:
    """A beginning of a text, or a whole one: its tokens, the log-probability of each, and their sum (or score)."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float


class Beams:
    """The search for one prompt: `lines` that go on, and the best texts that `ended` so far."""

    def __init__(self, prompt: Tokens, settings: Settings, wanted: int, stops: Callable[[Tokens], bool]) -> None:
        self.lines = [Line((), (), 0.0)]
        self.ended: list[Line] = []
        self.open = True
        self._prompt, self._settings, self._wanted, self._stops = set(prompt), settings, wanted, stops

    def step(self, logits: Array) -> list[int]:
        """Takes the logits [lines, V] after each line; for every new line the number of the one that it goes on."""
        settings, count = self._settings, self._settings.beams
        alone = log_chances(logits)
        values = alone.copy()
        for place, line in enumerate(self.lines):
            seen = self._prompt.union(line.tokens) if settings.sampling.repetition_penalty != 1 else ()
            values[place] = penalised(values[place], settings.sampling, seen) + line.score
        # With several candidates per end token at least `count` are left that go on.
        best = likeliest(values.reshape(-1), max(2, 1 + len(settings.end)) * count)
        parents: list[int] = []
        lines: list[Line] = []
        for rank, place in enumerate(best):
            parent, token = divmod(int(place), values.shape[1])
            before = self.lines[parent]
            logprobs = (*before.logprobs, float(alone[parent, token]))
            line = Line((*before.tokens, token), logprobs, float(values[parent, token]))
            if token in settings.end or len(line.tokens) == self._wanted or self._stops(line.tokens):
                if rank < count:
                    self._end(line)
            elif len(lines) < count:
                parents.append(parent)
                lines.append(line)
        self.lines = lines
        self.open = bool(lines) and self._can_improve(lines[0])
        return parents

    def best(self) -> Line:
        """The best text that ended."""
        return self.ended[0]

    def _end(self, line: Line) -> None:
        score = line.score / len(line.tokens) ** self._settings.length_penalty
        kept = sorted((*self.ended, replace(line, score=score)), key=lambda known: -known.score)
        self.ended = kept[: self._settings.beams]

    def _can_improve(self, line: Line) -> bool:
        if len(self.ended) < self._settings.beams:
            return True
        return line.score / len(line.tokens) ** self._settings.length_penalty > self.ended[-1].score


def write_beams(
    texts: Texts, prompts: Sequence[Tokens], writers: Sequence[Writer], settings: Settings
) -> Iterator[Piece]:
    """One piece per prompt: its best text, as soon as no better one can come."""
    going = [(w, Beams(p, settings, w.wanted, w.holds_stop)) for w, p in zip(writers, prompts, strict=True)]
    logits = texts.read(prompts)[:, -1]
    while going:
        left, order, start = [], list[int](), 0
        for writer, search in going:
            count = len(search.lines)
            parents = search.step(logits[start : start + count])
            if search.open:
                left.append((writer, search))
                order += [start + parent for parent in parents]
            else:
                yield _finished(writer, search.best(), settings)
            start += count
        going = left
        if going:
            if order != list(range(start)):
                texts.keep(order)
            logits = texts.read([line.tokens[-1:] for _, search in going for line in search.lines])[:, -1]


def _finished(writer: Writer, line: Line, settings: Settings) -> Piece:
    text = "".join([writer.push(token) for token in line.tokens if writer.finish is None])
    piece = writer.piece(writer.tokens, text)
    assert piece.result is not None
    pairs = zip(line.tokens, line.logprobs, strict=True)
    choices = () if settings.logprobs is None else tuple(Choice(*pair) for pair in pairs)
    return replace(piece, result=replace(piece.result, choices=choices, score=line.score))
