"""What must fit together in a stage: batch and rows, objective and data, schedule and budget."""

from __future__ import annotations

from collections.abc import Mapping

from . import errors
from .findings import Findings
from .plans import StagePlan, Term, Value
from .source import Span


def check_fit(plan: StagePlan, spans: Mapping[str, Span], findings: Findings) -> None:
    """Batch against rows, micro-batch against batch, objective against data, schedule against budget."""
    length, batch = plan.row_length, plan.batch
    if batch.unit == "tokens" and length is not None and batch.value % length:
        low = batch.value // length * length
        near = " or ".join(f"`{n} tokens`" for n in (low, low + length) if n)
        title = f"a batch of {batch} is not a whole number of rows of {length:,} tokens"
        findings.problems.append(
            errors.uneven_batch(title, f"{batch.value / length:.2f} rows", f"use {near}", spans["batch"])
        )
        return
    rows, micro = plan.rows, plan.micro_rows
    if plan.micro is not None and plan.micro.unit == "tokens" and length is not None and plan.micro.value % length:
        title = f"a micro-batch of {plan.micro} is not a whole number of rows of {length:,} tokens"
        findings.problems.append(
            errors.uneven_batch(title, "cuts a row", f"use a multiple of {length:,}", spans["micro"])
        )
    elif rows is not None and micro is not None and rows % micro:
        title = f"a batch of {rows:,} rows is not a whole number of micro-batches of {micro:,}"
        findings.problems.append(
            errors.uneven_batch(
                title, f"{rows:,} % {micro:,} = {rows % micro:,}", f"use a divisor of {rows:,}", spans["micro"]
            )
        )
    _check_objective(plan, findings)
    steps = plan.steps
    if steps is not None:
        needed = schedule_steps(plan)
        if needed > steps:
            findings.problems.append(errors.schedule_too_long(needed, steps, spans["optim"], spans["budget"]))


_DATA_FOR = {
    "masked_token": ("text",),
    "span_corruption": ("text",),
    "reward": ("pairs",),
    "dpo": ("pairs",),
    "kto": ("pairs",),
}
_DATA_WORDS = {"text": "`text` data", "chat": "`chat` data", "pairs": "`pairs` of answers"}


def _check_objective(plan: StagePlan, findings: Findings) -> None:
    objective, (source, _) = plan.loss.objective, plan.data.sources[0]
    wanted = _DATA_FOR.get(objective.name, ("text", "chat"))
    if objective.name == "next_token" and objective["on"] == "assistant":
        wanted = ("chat",)
    if source.name not in wanted:
        needs = " or ".join(_DATA_WORDS[w] for w in wanted)
        name = "next_token(on = assistant)" if wanted == ("chat",) else objective.name
        findings.problems.append(
            errors.objective_misfit(name, needs, _DATA_WORDS[source.name], objective.span, source.span)
        )


def schedule_steps(plan: StagePlan) -> int:
    """Steps that the warm-up and the decay of the schedule take together, at the least."""
    schedule: Term = plan.optimizer["lr"]
    total = 0
    for name, value in schedule.arguments:
        if name in ("warmup", "decay") and value is not None:
            total += in_steps(value, plan)
    return total


def in_steps(amount: Value, plan: StagePlan) -> int:
    """An amount of steps or tokens in steps of this stage, rounded up."""
    if amount.unit == "steps":
        return int(amount.value)
    rows, length = plan.rows, plan.row_length
    if rows is None or length is None:
        return 0
    return -(-int(amount.value) // (rows * length))
