"""Three ways to run a model token by token: the whole text again in PyTorch, and cached in PyTorch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .inputs import Reading
from .session import Session, States

Logits = NDArray[Any]


class Engine(Protocol):
    """Logits for the token after a text. `context` is the most tokens it can hold (None: no limit of its own).

    One that `reads_source` has an encoder, whose source it reads before a text.
    """

    @property
    def context(self) -> int | None: ...

    @property
    def reads_source(self) -> bool: ...

    def start(self, tokens: Sequence[int], source: Sequence[int] = ()) -> Logits:
        """Forgets everything, reads a source and a text of at least one token each; the logits [V] of what follows."""

    def step(self, token: int) -> Logits:
        """Reads one more token; the logits [V] of what follows it."""


class TorchFull:
    """The full form of an emitted module, run on the whole text for every token: slow, with nothing to go wrong.

    `reading` names the inputs of a model with an encoder.
    """

    def __init__(
        self, model: nn.Module, context: int | None = None, device: str = "cpu", reading: Reading | None = None
    ) -> None:
        self.context = context
        self._model = model.to(device).eval()
        self._device = device
        self._reading = reading if reading and reading.sources else None
        self._tokens: list[int] = []
        self._source: list[int] = []

    @property
    def reads_source(self) -> bool:
        return self._reading is not None

    @torch.no_grad()
    def start(self, tokens: Sequence[int], source: Sequence[int] = ()) -> Logits:
        self._tokens, self._source = list(tokens), list(source)
        inputs: tuple[Any, ...] = (self._tokens,)
        if self._reading is not None:
            (name,) = self._reading.sources
            inputs = self._reading.ordered({self._reading.tokens: self._tokens, name: self._source})
        result = self._model(*(torch.tensor([ids], device=self._device) for ids in inputs))
        logits: Tensor = result[0] if isinstance(result, tuple) else result
        return logits[0, -1].float().cpu().numpy()

    def step(self, token: int) -> Logits:
        return self.start([*self._tokens, token], self._source)


class TorchCached:
    """The step form of an emitted module: every token is read once, the derived states remember the rest.

    `reads_source`: the model has an encoder, which runs once.
    """

    def __init__(
        self, model: nn.Module, context: int | None = None, device: str = "cpu", reads_source: bool = False
    ) -> None:
        self.context, self.reads_source = context, reads_source
        self._model: Any = model.to(device).eval()
        self._device = device
        self._past = 0
        self._states: dict[str, Tensor] = {}

    @torch.no_grad()
    def start(self, tokens: Sequence[int], source: Sequence[int] = ()) -> Logits:
        self._past, self._states = 0, self._model.initial_states(1)
        if self.reads_source:
            self._states |= self._model.encode(torch.tensor([list(source)], device=self._device))
        return self._read(tokens)

    def step(self, token: int) -> Logits:
        return self._read([token])

    @torch.no_grad()
    def _read(self, tokens: Sequence[int]) -> Logits:
        ids = torch.tensor([list(tokens)], device=self._device)
        logits, self._states = self._model(ids, torch.tensor(self._past, device=self._device), self._states)
        self._past += len(tokens)
        return np.asarray(logits[0, -1].float().cpu().numpy())


class OnnxCached:
    """An export folder in ONNX Runtime, with the states that the graph takes and gives."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._length = 0
        self._states: States = {}

    @property
    def context(self) -> int | None:
        return self._session.context

    @property
    def reads_source(self) -> bool:
        return self._session.has_encoder

    def start(self, tokens: Sequence[int], source: Sequence[int] = ()) -> Logits:
        self._length, self._states = 0, self._session.start(1, [list(source)] if source else None)
        return self._read(tokens)

    def step(self, token: int) -> Logits:
        return self._read([token])

    def _read(self, tokens: Sequence[int]) -> Logits:
        before, self._length = self._length, self._length + len(tokens)
        mask = np.ones((1, self._length), np.int64)
        positions = np.arange(before, self._length)[None]
        logits, self._states = self._session.step(np.array([list(tokens)]), self._states, mask, positions)
        return np.asarray(logits[0, -1])
