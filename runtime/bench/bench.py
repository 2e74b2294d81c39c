"""An export on this machine: speed, memory, size, and the bound that memory sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..export_folder import read_manifest
from .bandwidth import GIB, Bandwidth, Reader
from .measure import Job
from .memory import Memory
from .profile import Profile, Recorded, read_profile
from .traffic import Traffic, traffic
from .worker import working


@dataclass(frozen=True)
class Spread:
    """What several rounds gave."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Bench:
    """What was measured. Times in seconds, sizes in bytes, speeds in tokens per second.

    `load` and `first` are the loading of the model and its first prompt, when nothing is warm. `decode` is None for a
    model that does not go on token by token. `weights` is what one token reads of the weights as they are stored, by
    format; `cache` what it reads of the states, on the average of the tokens that were written. `bandwidth` is that of
    the memory of this machine, `near` that of reading as much as one token needs again and again: caches of the
    processor may hold it.
    """

    model: str
    folder: str
    target: str
    device: str
    threads: int
    prompt: int
    tokens: int
    load: float
    first: float
    prefill: Spread
    decode: Spread | None
    base: Memory
    memory: Memory
    disk: int
    stored: int
    weights: Mapping[str, int]
    cache: int
    bandwidth: Bandwidth
    near: Bandwidth
    profile_prefill: Profile
    profile_decode: Profile | None

    @property
    def bytes_per_token(self) -> int:
        """What one token makes the machine read: weights and caches."""
        return sum(self.weights.values()) + self.cache

    @property
    def ceiling(self) -> float:
        """Tokens per second if nothing took time but reading that from memory."""
        return self.bandwidth.best / self.bytes_per_token

    @property
    def share(self) -> float | None:
        """Of the ceiling, what decoding reaches; None on a GPU, which reads a memory of its own."""
        return self.decode.median / self.ceiling if self.decode and self.device == "cpu" else None

    @property
    def needed(self) -> int:
        """What there is to hold at the end: the weights as they are stored, and the caches of all tokens."""
        return self.stored + int(self.cache * (self.prompt + self.tokens) / (self.prompt + self.tokens / 2))

    def to_json(self) -> dict[str, Any]:
        """As plain data, with what follows from it."""
        derived = {"bytes_per_token": self.bytes_per_token, "ceiling": self.ceiling, "share": self.share,
                   "needed": self.needed, "prefill_median": self.prefill.median,
                   "decode_median": self.decode.median if self.decode else None}  # fmt: skip
        return {**asdict(self), **derived}


def bench(
    folder: str | os.PathLike[str],
    *,
    prompt: int = 512,
    tokens: int = 64,
    threads: int | None = None,
    rounds: int = 5,
    providers: Sequence[str] | None = None,
    told: Callable[[str], None] = lambda what: None,
) -> Bench:
    """Measures an export folder: one row, a prompt of so many tokens and so many after it, in several rounds.

    The model runs in a process of its own. Between rounds, while it waits, this one reads memory with as many threads.
    `told` hears what is being done. Raises WeftError: E0933 for a folder that is no export, E0961 when the process
    fails, and when prompt and tokens are more than the model was made for.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    if manifest["context"] is not None and prompt + tokens > manifest["context"]:
        raise WeftError(errors.context_exceeded(prompt + tokens, manifest["context"]))
    used = threads or _processors()
    job = Job(str(root), prompt, tokens, used, tuple(providers) if providers is not None else None)
    traffics = {file: _traffic(root, file) for file in _models(manifest)}
    cache = _cache(manifest, prompt, tokens)
    read = traffics[manifest["file"]]
    reader, near = Reader(used, _beyond_caches()), Reader(used, min(GIB, read.bytes + cache))
    passes: list[float] = []
    near_passes: list[float] = []
    measured = []
    told("loading")
    with working(job) as worker:
        begun = worker.answer()
        for number in range(rounds):
            told(f"round {number + 1} of {rounds}")
            passes += reader.read()
            near_passes += near.read()
            measured.append(worker.answer("round"))
        ended = worker.answer("end")
    told("profile")
    prefill, decode = _profiles(job, traffics, begun["writes"])
    stored = [n for n in manifest["files"] if n.endswith((".onnx", ".onnx.data", ".data"))]
    return Bench(
        model=manifest["model"],
        folder=str(root),
        target=manifest["target"],
        device=begun["device"],
        threads=used,
        prompt=prompt,
        tokens=tokens,
        load=begun["load"],
        first=begun["first"],
        prefill=Spread(tuple(prompt / r["prefill"] for r in measured)),
        decode=Spread(tuple(tokens / r["decode"] for r in measured)) if begun["writes"] else None,
        base=Memory(**begun["base"]),
        memory=Memory(**ended["memory"]),
        disk=sum(p.stat().st_size for p in root.rglob("*") if p.is_file()),
        stored=sum(manifest["files"][n]["bytes"] for n in stored),
        weights=read.formats,
        cache=cache,
        bandwidth=Bandwidth(tuple(passes)),
        near=Bandwidth(tuple(near_passes)),
        profile_prefill=prefill,
        profile_decode=decode,
    )


def _profiles(job: Job, traffics: Mapping[str, Traffic], writes: bool) -> tuple[Profile, Profile | None]:
    """The profiles of one more round, in a process of its own: writing them down takes time too."""
    with TemporaryDirectory() as folder:
        asked = Job(job.folder, job.prompt, job.tokens, job.threads, job.providers, str(Path(folder) / "profile"))
        with working(asked) as worker:
            worker.answer()
            began, between, ended = worker.answer("round")["moments"]
            found = worker.answer("end")["profiles"]
        recorded = [Recorded(p["model"], Path(p["path"]), p["began"]) for p in found]
        prefill = read_profile(recorded, traffics, began, between, 1)
        decode = read_profile(recorded, traffics, between, ended, job.tokens) if writes else None
    return prefill, decode


def _traffic(root: Path, file: str) -> Traffic:
    try:
        return traffic(root / file)
    except DecodeError as error:
        raise WeftError(errors.not_an_export(str(root), f"`{file}` is damaged")) from error


def _models(manifest: Mapping[str, Any]) -> list[str]:
    """The ONNX files of an export."""
    others = [manifest.get("encoder"), manifest.get("prefill")]
    return [manifest["file"], *(other["file"] for other in others if other)]


def _cache(manifest: Mapping[str, Any], prompt: int, tokens: int) -> int:
    """Bytes of the states that one token reads, on the average of those that are written after a prompt."""
    past = tokens / 2 if manifest["encoder"] else prompt + tokens / 2
    total = 0.0
    for state in manifest["states"]:
        length = prompt if state["kind"] == "constant" else min(past, state["width"] or past)
        sizes = [n if isinstance(n, int) else 1 if n == "batch" else length for n in state["shape"]]
        total += prod(sizes) * np.dtype(state["dtype"]).itemsize
    return int(total)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _beyond_caches() -> int:
    """Bytes that no cache of the processor holds, and that leave most of the memory free."""
    last = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    cached = int(last.read_text().strip().rstrip("K")) * 1024 if last.is_file() else 0
    return max(GIB, 4 * cached)
