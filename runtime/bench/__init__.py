"""How fast an export is on this machine, what it needs, and what keeps it from being faster."""

from .bench import Bench, bench

__all__ = ["Bench", "bench"]
