"""The passes every model goes through, in order, and which of them each level runs."""

from __future__ import annotations

from dataclasses import dataclass

from ...lang import errors
from ...lang.diagnostics import WeftError
from .contract import Pass
from .cse import Merge
from .dce import Eliminate
from .fold import Fold

LEVELS = ("O0", "O1")


@dataclass(frozen=True)
class Stage:
    """A pass and the levels that run it."""

    one: Pass
    levels: tuple[str, ...]


PIPELINE: tuple[Stage, ...] = (
    Stage(Fold(), ("O1",)),
    Stage(Merge(), ("O1",)),
    Stage(Eliminate(), ("O0", "O1")),
)


def passes(level: str = "O1", pipeline: tuple[Stage, ...] = PIPELINE) -> tuple[Pass, ...]:
    """The passes of a level. Raises WeftError (E0805) for a level that does not exist."""
    if level not in LEVELS:
        raise WeftError(errors.unknown_level(level, LEVELS))
    return tuple(stage.one for stage in pipeline if level in stage.levels)
