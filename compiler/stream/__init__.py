"""Streams: the cached step, padding and packing, derived from the full-sequence program."""

from .derive import prefill, rows, step
from .plan import StateEntry, state_plan

__all__ = ["StateEntry", "prefill", "rows", "state_plan", "step"]
