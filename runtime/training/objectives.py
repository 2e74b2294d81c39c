"""The objective of a stage: compiled, with the models that it needs besides the one that learns."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...compiler.emit.torch import to_torch
from ...compiler.objectives import LIBRARY, Objective, find_objective, objective
from ...lang.plans import StagePlan
from ...lang.program import Program
from ..model import build
from ..run import Run
from .companions import companion
from .emitted import Emitted
from .objective import Learning, NextToken, Signalled
from .stage_model import StageModel

_SCORES = {
    **dict.fromkeys(("chosen_reward", "rejected_reward", "rewards", "prediction", "token_score", "values"), 1),
}
"""Signals that a head other than the model's gives, and the number of its scores for each token."""


def compiled_objective(program: Program, stage: StagePlan) -> Objective:
    """The objective of a stage as a module of its own."""
    return objective(program, stage.loss.objective, {})


def head_outputs(compiled: Objective, classes: int | None) -> int | None:
    """The number of scores for each token that an objective needs of a head of its own; None for that of the model.

    `classes` is how many the data have, where examples belong to classes.
    """
    if "class_logits" in compiled.signals:
        return classes
    if "logp" in compiled.signals:
        return None  # scores of tokens are needed, too: values get a head beside the model's own
    return next((_SCORES[name] for name in compiled.signals if name in _SCORES), None)


def objective_of(
    program: Program,
    compiled: Objective,
    chosen: StageModel,
    model: nn.Module,
    stage: StagePlan,
    run: Run,
    origin: Path,
    device: str,
) -> Learning:
    """The objective of a stage for its emitted module `model`, with its companions."""
    learner = Emitted(chosen.module, model, stage.precision, torch.device(device))
    term = stage.loss.objective
    if entry(program, stage, model) == "loss":
        return NextToken(learner, stage)
    companions = {
        name: companion(name, term[name], stage, chosen.module, run, origin, device) for name in compiled.companions
    }
    folder = run.stage(stage.name)
    loss = build(to_torch(compiled.module), compiled.module.name, folder / "loss.py").to(device)
    return Signalled(learner, stage, compiled, loss, companions)


def entry(program: Program, stage: StagePlan, model: nn.Module) -> str:
    """The method of an emitted module that the objective of a stage begins with."""
    if _plain(program, stage) and hasattr(model, "loss"):
        return "loss"
    return "hidden" if hasattr(model, "hidden") else "forward"


def _plain(program: Program, stage: StagePlan) -> bool:
    """Whether an objective is nothing but the cross-entropy that is emitted with the model."""
    term = stage.loss.objective
    unit, _ = find_objective(program, term)
    own = unit.prefix == f"weft.{LIBRARY}" and term.name == "next_token"
    return own and not any(value for name, value in term.arguments if name in ("smoothing", "z"))
