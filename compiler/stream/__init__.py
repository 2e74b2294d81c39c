"""Streams: the cached step, padding and packing, derived from the full-sequence program."""

from .constants import encoding
from .derive import rows, step
from .plan import StateEntry, state_plan

__all__ = ["StateEntry", "encoding", "rows", "state_plan", "step"]
