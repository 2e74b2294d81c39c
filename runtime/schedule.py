"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

from ..lang.plans import Amount, Term


def rate(schedule: Term, step: int, steps: int, tokens_per_step: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    The warm-up of w steps rises evenly: step 0 has peak / w and step w - 1 the peak. What follows goes from the peak at
    step w to the floor at the last step: half a cosine (Loshchilov and Hutter 2017), a line, or, for `wsd` (Hu et al.
    2024), the peak until the decay begins. `inverse_sqrt` is peak * sqrt(w / (step + 1)) (Vaswani et al. 2017).
    """
    peak = float(schedule["peak"])
    warmup = _steps(schedule["warmup"], tokens_per_step)
    if step < warmup:
        return peak * (step + 1) / warmup
    match schedule.name:
        case "constant":
            return peak
        case "inverse_sqrt":
            return peak * math.sqrt(max(1, warmup) / (step + 1))
        case "cosine" | "linear":
            return _fall(schedule.name, peak, float(schedule["floor"]), step - warmup, steps - 1 - warmup)
        case "wsd":
            decay = _steps(schedule["decay"], tokens_per_step)
            return _fall(schedule["shape"], peak, float(schedule["floor"]), step - (steps - 1 - decay), decay)
        case name:
            raise ValueError(f"no schedule {name}")


def _fall(shape: str, peak: float, floor: float, step: int, steps: int) -> float:
    """From `peak` at step 0 (and before) to `floor` at step `steps`."""
    done = min(1.0, max(0, step) / steps) if steps > 0 else float(step > 0)
    match shape:
        case "cosine":
            left = 0.5 * (1 + math.cos(math.pi * done))
        case "sqrt":
            left = 1 - math.sqrt(done)
        case _:
            left = 1 - done
    return floor + (peak - floor) * left


def _steps(amount: Amount | None, tokens_per_step: int) -> int:
    if amount is None:
        return 0
    return amount.value if amount.unit == "steps" else -(-amount.value // tokens_per_step)
