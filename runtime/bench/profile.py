"""Where the time goes: ONNX Runtime's own profile, by kind of operator and format of its weights."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .traffic import Traffic, Use

_EVENT = "_kernel_time"
# The nodes of a function are named after its first call; those of later ones have the number of the call besides.
_CALL = re.compile(r"^(_inlfunc_\w*?)_token_\d+_")
NOTHING = Use(0, "")


@dataclass(frozen=True)
class Recorded:
    """A profile that was written: of which model it is, and when its clock began, in nanoseconds of `time.time_ns`."""

    model: str
    path: Path
    began: int


@dataclass(frozen=True)
class Part:
    """All nodes of one kind: per run, how many there are, seconds, and the bytes of weights that they read."""

    operator: str
    format: str
    calls: float
    seconds: float
    bytes: float


@dataclass(frozen=True)
class Profile:
    """The parts of a run, longest first; `seconds` is the whole run, kernels and what lies between them."""

    parts: tuple[Part, ...]
    seconds: float
    runs: int

    @property
    def between(self) -> float:
        """Seconds of a run that no kernel accounts for."""
        return max(0.0, self.seconds - sum(p.seconds for p in self.parts))


def read_profile(
    recorded: Sequence[Recorded], traffics: Mapping[str, Traffic], began: int, ended: int, steps: int
) -> Profile:
    """The profile of what ran between two moments (of `time.time_ns`): some `steps` that were alike."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    bytes: dict[tuple[str, str], float] = defaultdict(float)
    calls: dict[tuple[str, str], int] = defaultdict(int)
    whole = 0.0
    for record in recorded:
        events = json.loads(record.path.read_text("utf-8"))
        for event in events:
            start = record.began + 1000 * event["ts"]
            if not began <= start < ended:
                continue
            if event["cat"] == "Session" and event["name"] == "model_run":
                whole += event["dur"] * 1e-6
            if event["cat"] == "Node" and event["name"].endswith(_EVENT):
                use = traffics[record.model].of(_name(event)) or NOTHING
                kind = (event["args"]["op_name"], use.format)
                seconds[kind] += event["dur"] * 1e-6
                bytes[kind] += use.bytes
                calls[kind] += 1
    parts = [Part(*kind, calls[kind] / steps, seconds[kind] / steps, bytes[kind] / steps) for kind in seconds]
    return Profile(tuple(sorted(parts, key=lambda p: -p.seconds)), whole / steps, steps)


def _name(event: Mapping[str, Any]) -> str:
    return _CALL.sub(r"\1_", event["name"].removesuffix(_EVENT))
