"""The numbers of a stage that its data and its device complete."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ...lang import errors
from ...lang.batch_sizes import BatchSizes
from ...lang.diagnostics import WeftError
from ...lang.plans import Amount, StagePlan
from .batches import Examples
from .learner import Learner
from .schedule import Schedule, schedule
from .task import Task

_TRIALS = 3
_REST = 0.95
"""The share of a budget in hours that steps get; validation and checkpoints have the rest."""

_SECONDS = {"hours": 3600, "minutes": 60}


@dataclass(frozen=True)
class Pace:
    """Steps, examples of each batch and of a micro-batch, and steps between checkpoints and validations.

    `length` are the tokens of an example, in the mean. `schedule` gives the rate of each step.
    """

    steps: int
    sizes: BatchSizes
    micro: int
    length: float
    save: int
    validate: int
    schedule: Schedule

    def tokens(self, steps: int) -> int:
        """Tokens of the first steps together."""
        return round(self.sizes.before(steps) * self.length)


def pace(plan: StagePlan, task: Task, device: str, steps: int | None = None) -> Pace:
    """The numbers of a stage. `steps` is how many an earlier part of the run decided on, for budgets in time.

    A budget in epochs needs the data; one in hours is measured with trial steps that change nothing. WeftError when the
    schedule is longer than the run.
    """
    length = task.examples.tokens_per_example
    sizes = plan.sizes or BatchSizes(max(1, round(plan.batch.value / length)))
    micro = plan.micro_rows or micro_rows(sizes, length, device)
    if plan.budget.unit not in _SECONDS:
        steps = _steps(plan, sizes, task.examples)
    elif steps is None:
        seconds = plan.budget.value * _SECONDS[plan.budget.unit] * _REST
        each = _seconds_per_row(plan, task, sizes, micro)
        steps = task.ranks.told(lambda: max(1, int(seconds / each / sizes.rows)))
    found = schedule(plan.optimizer["lr"], steps, sizes, length)
    needed = found.warmup + found.decay
    if needed > steps:
        raise WeftError(errors.schedule_too_long(needed, steps, plan.optimizer.span, plan.span))
    save = plan.save or min(1000, max(1, steps // 8))
    return Pace(steps, sizes, micro, length, save, plan.validate or min(1000, max(1, steps // 5)), found)


def micro_rows(sizes: BatchSizes, length: float, device: str) -> int:
    """How many examples go through the model at once when the recipe does not say it: what divides every batch."""
    at_once = 1024 if device == "cpu" else 32_768
    return max(n for n in range(1, sizes.unit + 1) if sizes.unit % n == 0 and (n == 1 or n * length <= at_once))


def _steps(plan: StagePlan, sizes: BatchSizes, examples: Examples) -> int:
    """The steps that a budget of examples, tokens or epochs takes."""
    if plan.budget.unit == "steps":
        return plan.budget.value
    budget: Amount = plan.budget
    rows = {
        "epochs": budget.value * examples.examples_per_epoch(),
        "tokens": math.ceil(budget.value / examples.tokens_per_example),
        "examples": budget.value,
        "sequences": budget.value,
    }[budget.unit]
    return sizes.steps(rows)


def _seconds_per_row(plan: StagePlan, task: Task, sizes: BatchSizes, micro: int) -> float:
    """What an example costs: the best of a few trial steps at a rate of 0, of which nothing stays."""
    batch, _ = task.examples.take(task.examples.start(), sizes.rows)
    learner, best = Learner(task, plan), math.inf
    for _ in range(_TRIALS):
        began = time.monotonic()
        learner.learn(batch, micro, 0, 0.0)
        best = min(best, time.monotonic() - began)
    return best / sizes.rows
