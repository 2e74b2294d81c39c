"""Everything that a step of training changes: weights, what the optimizer remembers, averages, scales and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.plans import StagePlan
from ..model import place
from ..optim import Parts, optimizer
from .average import WeightAverage
from .batches import Batch
from .checkpoints import Checkpoint
from .events import OVERFLOW, SKIP
from .scaler import SMALLEST, LossScaler
from .spikes import SpikeWatch
from .task import Task


@dataclass(frozen=True)
class Step:
    """What a step came to. `norm` is the gradient's before clipping; `left_out` is (kind of event, reason) when the
    weights stayed as they were."""

    loss: float
    norm: float
    left_out: tuple[str, str] | None = None


class Learner:
    """The parameters of a task that are trained, and all that goes with them from step to step."""

    def __init__(self, task: Task, plan: StagePlan) -> None:
        self.objective = task.objective
        self.parameters = {name: p for name, p in task.model.named_parameters() if p.requires_grad}
        parts = Parts(
            self.parameters, task.decayed, task.updates, task.matrices, task.ranks.whole, task.ranks.part
        )
        self.optimizer = optimizer(parts, plan.optimizer)
        self.average = WeightAverage(self.parameters, plan.ema) if plan.ema else None
        self.scaler = LossScaler() if plan.precision.compute == "f16" else None
        self.watch = SpikeWatch(plan.spikes)
        self._bound = plan.clip
        self._clip = task.ranks.clip

    def learn(self, batch: Batch, micro: int, step: int, rate: float) -> Step:
        """One step, unless its loss or gradient says that it should be left out."""
        if self.scaler is not None:
            self.objective.scale = self.scaler.scale
        loss = self.objective.gradients(batch, micro, step)
        parameters = list(self.parameters.values())
        if self.scaler is not None:
            self.scaler.unscale(parameters)
        norm = float(self._clip(self.parameters, self._bound))
        left_out = self._left_out(loss, norm, step)
        if left_out is None:
            self.optimizer.step(rate)
            if self.average is not None:
                self.average.update()
            self.watch.passed(step)
        else:
            _forget(parameters)
        return Step(loss, norm, left_out)

    def _left_out(self, loss: float, norm: float, step: int) -> tuple[str, str] | None:
        if self.scaler is not None:
            scale, finite = self.scaler.scale, math.isfinite(norm)
            self.scaler.update(finite)
            if self.scaler.scale < SMALLEST:
                raise WeftError(errors.scale_collapsed(step + 1, self.scaler.scale))
            if math.isfinite(loss) and not finite:
                return OVERFLOW, f"gradients overflow at a loss scale of {scale:g}"
        reason = self.watch.judge(loss, norm)
        return None if reason is None else (SKIP, reason)

    def shown(self) -> Mapping[str, Tensor] | None:
        """The weights to judge and to keep, by name, where they are others than the parameters hold."""
        return self.optimizer.averages() if self.average is None else self.average.values

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """What a checkpoint holds of it, in groups."""
        found: dict[str, Mapping[str, Tensor]] = {
            "model": self.parameters,
            "optimizer": self.optimizer.state(),
            "random": {"cpu": torch.get_rng_state()},
        }
        if torch.cuda.is_available():
            found["random"] = {**found["random"], "cuda": torch.cuda.get_rng_state()}
        return found if self.average is None else {**found, "average": self.average.values}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it besides tensors."""
        scaler = {} if self.scaler is None else {"scaler": self.scaler.state()}
        return {"watch": self.watch.state(), **scaler}

    def restore(self, saved: Checkpoint, origin: str) -> None:
        """Takes over what a checkpoint holds; what follows is what would have followed."""
        place(self.parameters, saved.tensors["model"], origin)
        self.optimizer.restore(saved.tensors.get("optimizer", {}))
        torch.set_rng_state(saved.tensors["random"]["cpu"])
        if "cuda" in saved.tensors["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(saved.tensors["random"]["cuda"])
        if self.average is not None:
            self.average.restore(saved.tensors["average"])
        if self.scaler is not None:
            self.scaler.restore(saved.state["scaler"])
        self.watch.restore(saved.state["watch"])


def _forget(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
