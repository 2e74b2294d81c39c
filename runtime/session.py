"""Running an export folder with ONNX Runtime: whole sequences, texts written on, scores, embeddings, single steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..lang import errors
from ..lang.diagnostics import WeftError
from .conventions import Conventions
from .decoding.generation import results, stream
from .decoding.settings import Settings
from .decoding.texts import Engine, Tokens
from .decoding.writer import Piece, Result
from .export_folder import check_files
from .exported import Exported
from .loaded import SOURCE_MASK, Array, States
from .sampling import log_chances
from .session_texts import SessionTexts, padded
from .step_inputs import shaped, token_rows
from .tokenizer import Tokenizer

__all__ = ["SOURCE_MASK", "Array", "Session", "States", "check_files"]

CHUNK = 256
"""Tokens that are scored at a time."""


class Session(Exported):
    """A loaded export folder.

    `manifest` is its weft.json, `device` is "cpu" or "cuda". CUDA is used where there is a GPU and a build of ONNX
    Runtime for it; `providers` overrides the choice. `threads` limits the CPU threads of one operation. `adapter` names
    one of the export to begin with. Raises WeftError (E0933) for a folder that is no export, or a damaged one.
    """

    @property
    def tokenizer(self) -> Path | None:
        """The exported tokenizer.json, if there is one."""
        name = self.manifest["tokenizer"]
        return self.folder / name if name else None

    @property
    def reads_source(self) -> bool:
        """The same as `has_encoder`, as engines call it."""
        return self.has_encoder

    def conventions(self) -> Conventions | None:
        """How texts begin and end for this model, where the export says so."""
        metadata = self.manifest["metadata"]
        return Conventions.from_json(metadata["text"]) if "text" in metadata else None

    def load_tokenizer(self) -> Tokenizer:
        """The tokenizer of the export. Raises WeftError (E0933) when there is none."""
        if self.tokenizer is None:
            raise WeftError(errors.not_an_export(str(self.folder), "it has no tokenizer to read a prompt with"))
        return Tokenizer.load(self.tokenizer, self.conventions())

    def logits(
        self,
        tokens: ArrayLike,
        attention_mask: ArrayLike | None = None,
        source: ArrayLike | None = None,
        source_mask: ArrayLike | None = None,
        *,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> Array:
        """Logits [B, T, V] of whole rows of tokens [B, T], for a model with an encoder after their source [B, N].

        Masks are 1 for tokens and 0 for padding, on either side. Logits at padding mean nothing. `inputs` are others
        that may be left out, such as `token_type_ids` [B, T].
        """
        ids = token_rows(tokens)
        mask = np.ones_like(ids) if attention_mask is None else shaped("attention_mask", attention_mask, ids.shape)
        states = self.start(len(ids), source, source_mask)
        if not self.shared:
            positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
            return self.step(ids, states, mask, positions, inputs=inputs)[0]
        order = np.argsort(1 - mask, axis=1, kind="stable")  # tokens first: such rows have no gaps
        arrays = {name: np.take_along_axis(np.asarray(values), order, 1) for name, values in (inputs or {}).items()}
        compact = np.take_along_axis(mask, order, 1)[:, : max(1, int(mask.sum(1).max()))]
        logits, _ = self.step(np.take_along_axis(ids, order, 1), states, compact, inputs=arrays)
        return np.take_along_axis(logits, np.argsort(order, axis=1)[:, :, None], 1)

    # ------------------------------------------------------------------ texts

    def open(self, count: int, sources: Sequence[Tokens] = ()) -> SessionTexts:
        """A number of empty texts, to be read on in; see `weft.runtime.decoding.texts`."""
        return SessionTexts(self, count, sources)

    def generate(
        self,
        prompts: Sequence[Tokens],
        settings: Settings | None = None,
        *,
        sources: Sequence[Tokens] = (),
        draft: Engine | None = None,
        told: Callable[[Piece], None] | None = None,
    ) -> list[Result]:
        """What is written after prompts of token ids, in their order; `told` hears of every piece as it comes.

        A model with an encoder reads one of the `sources` for each. A `draft` is a smaller session that proposes
        tokens. Pieces and results hold text where the export has a tokenizer; without `end` in the settings, that
        tokenizer says what ends a text. WeftError (E0934, E0948, E0980, E0981) for what does not fit.
        """
        return results(self.stream(prompts, settings, sources=sources, draft=draft), told)

    def stream(
        self,
        prompts: Sequence[Tokens],
        settings: Settings | None = None,
        *,
        sources: Sequence[Tokens] = (),
        draft: Engine | None = None,
    ) -> Iterator[Piece]:
        """The same piece by piece; the last piece of a row holds its result."""
        self._check_writes()
        tokenizer = self.load_tokenizer() if self.tokenizer else None
        how = settings or Settings()
        if tokenizer and not how.end:
            how = how.ending(tokenizer.ends)
        return stream(self, prompts, how, sources, tokenizer, draft)

    def score(self, tokens: Sequence[Tokens], *, sources: Sequence[Tokens] = ()) -> list[Array]:
        """For every row of N tokens the log-probabilities [N - 1] of all but its first, each after those before it."""
        self._check_writes()
        found = []
        for number, row in enumerate(tokens):
            if len(row) < 2:
                raise WeftError(errors.session_input("tokens", "a score needs a row of at least two"))
            texts, parts = self.open(1, sources[number : number + 1]), []
            for start in range(0, len(row) - 1, CHUNK):
                piece = row[start : min(start + CHUNK, len(row) - 1)]
                chances = log_chances(texts.read([piece], len(piece))[0])
                following = np.asarray(row[start + 1 : start + 1 + len(piece)])
                parts.append(chances[np.arange(len(piece)), following])
            found.append(np.concatenate(parts))
        return found

    def embed(self, tokens: Sequence[Tokens]) -> list[Array]:
        """What a model without steps, such as an encoder, says of each row of token ids.

        One vector [D] per row where the model makes one of a whole text, else one per token [N, D]. Rows may have
        different lengths. WeftError (E0980) for a model that writes.
        """
        if self.has_steps or self.has_encoder:
            raise WeftError(errors.no_such_decoding("the model gives logits, not embeddings", "ask for `score`"))
        if not tokens or not all(tokens):
            raise WeftError(errors.session_input("tokens", "each row must have at least one"))
        ids, mask = padded(tokens, "right")
        values = self.logits(ids, mask if "attention_mask" in self._inputs else None)
        return [value if value.ndim == 1 else value[: len(row)] for value, row in zip(values, tokens, strict=True)]

    def _check_writes(self) -> None:
        if not self.has_steps:
            raise WeftError(errors.no_such_decoding("the model writes no text", "ask for `logits` or `embed`"))
