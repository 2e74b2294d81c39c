"""What `weft generate` shows of texts: as they come, as tables of log-probabilities, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tables import table
from .terminal import Terminal

if TYPE_CHECKING:
    from ..runtime.generate import Choice, Piece, Result
    from ..runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shown:
    """How texts appear: `leads` are what stands in front of each, `stream` shows a single text as it comes."""

    leads: Sequence[str]
    stream: bool
    tokenizer: Tokenizer

    def follow(self, pieces: Iterator[Piece], terminal: Terminal) -> list[Result]:
        """Writes texts in the order of their prompts, each as soon as it and those before it have ended."""
        found: dict[int, Result] = {}
        shown, streamed = 0, self.stream and len(self.leads) == 1
        if streamed:
            terminal.write(self.leads[0])
        for piece in pieces:
            if streamed:
                terminal.write(piece.text)
            if piece.result is not None:
                found[piece.row] = piece.result
            while shown in found:
                result = found[shown]
                terminal.write("\n" if streamed else f"{self.leads[shown]}{result.text}\n")
                if result.choices:
                    terminal.show(self._choices(result.choices))
                shown += 1
        return [found[row] for row in sorted(found)]

    def _choices(self, choices: Sequence[Choice]) -> Any:
        shown = table("token", "log-probability >", "likeliest")
        for choice in choices:
            others = "  ".join(f"{self._quoted(token)} {value:.2f}" for token, value in choice.likeliest)
            shown.add_row(self._quoted(choice.token), f"{choice.logprob:.3f}", others)
        return shown

    def _quoted(self, token: int) -> str:
        return repr(self.tokenizer.decode([token]))


def as_json(prompt: str, result: Result, tokenizer: Tokenizer) -> dict[str, Any]:
    """One text as plain data."""
    found: dict[str, Any] = {
        "prompt": prompt,
        "text": result.text,
        "tokens": len(result.tokens),
        "ids": list(result.tokens),
        "finish": result.finish,
    }
    if result.choices:
        found["logprobs"] = [_choice(choice, tokenizer) for choice in result.choices]
    if result.score is not None:
        found["score"] = result.score
    if result.proposed:
        found["draft"] = {"proposed": result.proposed, "accepted": result.accepted}
    return found


def _choice(choice: Choice, tokenizer: Tokenizer) -> dict[str, Any]:
    pairs = [{"id": token, "text": tokenizer.decode([token]), "logprob": value} for token, value in choice.likeliest]
    own = {"id": choice.token, "text": tokenizer.decode([choice.token]), "logprob": choice.logprob}
    return {**own, "likeliest": pairs} if pairs else own
