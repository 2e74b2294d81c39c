"""Objectives on batches: forward and backward in micro-batches, exact to the token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...compiler.objectives import Objective as Compiled
from ...lang.plans import StagePlan
from .batches import Batch
from .emitted import Emitted
from .signals import OF_TOKENS, Signals

_MOVING = ("logits", "teacher_logits", "hidden", "teacher_hidden", "token_score")
"""Signals of tokens one by one; the others of OF_TOKENS come for whole rows, too."""


class Learning(ABC):
    """The loss of a batch as a sum over what counts; the rest of an objective follows from it.

    `per` says what counts: labels by their weight ("token"), examples ("example"), or the batch as one ("batch").
    """

    scale: float = 1.0
    """What gradients are multiplied with: more than 1 where 16-bit floats would lose small ones."""

    def __init__(self, learner: Emitted, plan: StagePlan, per: str, whole: bool = False) -> None:
        self.learner = learner
        self._noise: Any = getattr(learner.model, "set_noise", None)
        self._penalties = dict(plan.loss.penalties)
        self.seed = plan.seed
        self._per = per
        self._whole = whole or per == "batch"

    @abstractmethod
    def total(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The sum of the losses of a batch over what counts, and the penalties of the model, all scalars."""

    def counted(self, batch: Batch) -> float:
        """How much of a batch counts."""
        return batch.counted if self._per == "token" else float(batch.examples) if self._per == "example" else 1.0

    def noise(self, step: int, row: int) -> None:
        """Makes the module ready to learn from the rows of a step that begin with `row`: their dropout is their own."""
        self.learner.model.train()
        if self._noise is not None:
            self._noise(self.seed, step, row)

    def penalty(self, penalties: Mapping[str, Tensor]) -> Tensor:
        """The penalties of the model that the recipe names, weighted as it says."""
        extra = [weight * penalties[name] for name, weight in self._penalties.items() if name in penalties]
        return torch.stack(extra).sum() if extra else torch.zeros((), device=self.learner.device)

    def gradients(self, batch: Batch, micro: int, step: int) -> float:
        """Adds the gradient of the batch's mean loss to the parameters; gives that mean.

        The denominator is what counts in the whole batch, whatever the micro-batches are. A penalty is weighted by the
        share of its micro-batch.
        """
        mean = torch.zeros((), device=self.learner.device)
        counted = self.counted(batch)
        if not counted:
            return 0.0
        for start in range(0, batch.examples, batch.examples if self._whole else micro):
            part = batch if self._whole else batch.part(start, start + micro)
            if not self.counted(part):
                continue
            self.noise(step, start * batch.group)
            with self.learner.autocast():
                total, penalties = self.total(part)
            penalty = self.penalty(penalties)
            ((total / counted + penalty * (self.counted(part) / counted)) * self.scale).backward()
            mean += total.detach() / counted
        return float(mean)

    @property
    def emulated(self) -> bool:
        """Whether this CPU has no units for bfloat16, so that float32 would be faster (about three times)."""
        halves = self.learner.precision.compute == "bf16" and self.learner.device.type == "cpu"
        if not halves or not hasattr(torch.cpu, "get_capabilities"):
            return False
        known = torch.cpu.get_capabilities()
        return known.get("architecture") == "x86_64" and not (known.get("amx_bf16") or known.get("avx512_bf16"))

    @torch.no_grad()
    def mean(self, batch: Batch) -> tuple[float, float]:
        """The mean loss of a batch without noise, and how much of it counts."""
        self.learner.model.eval()
        with self.learner.autocast():
            total, _ = self.total(batch)
        counted = self.counted(batch)
        return float(total) / counted, counted


class NextToken(Learning):
    """Cross-entropy of the next token in nats, by the `loss` that is emitted with the model."""

    def __init__(self, learner: Emitted, plan: StagePlan) -> None:
        super().__init__(learner, plan, "token")
        self._loss: Any = learner.model.loss
        self._names = list(learner.loss_inputs)

    def total(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        arrays = self.learner.inputs(batch)
        arrays |= {"labels": self.learner.tensor(batch.labels), "weight": self.learner.tensor(batch.weight)}
        mean, penalties = self._loss(*(arrays[name] for name in self._names))
        return mean * batch.counted, penalties


class Signalled(Learning):
    """An objective written in the language: its signals are computed, and it says what the losses are.

    `loss` is the module that is emitted for it.
    """

    def __init__(
        self, learner: Emitted, plan: StagePlan, compiled: Compiled, loss: nn.Module, companions: Mapping[str, Emitted]
    ) -> None:
        super().__init__(learner, plan, compiled.per, not compiled.apart)
        self._names = compiled.signals
        self._loss = loss
        self._signals = Signals(learner, companions)
        self._chunked = all(n in OF_TOKENS for n in self._names) and any(n in _MOVING for n in self._names)

    def total(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self._chunked:
            losses, penalties = self._signals.of_tokens(self._names, batch, self._loss)
        else:
            values, penalties = self._signals.of_rows(self._names, batch)
            losses = self._loss(*values)
        if self._per == "token":
            return (losses * self.learner.tensor(batch.weight)).sum(), penalties
        return losses.sum(), penalties
