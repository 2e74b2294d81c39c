"""Checkpoints of several processes: each writes its parts, and any number of processes can read them again."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from ...lang import errors
from ...lang.diagnostics import WeftError
from .. import files
from ..training import checkpoints
from ..training.checkpoints import MANIFEST, STATE, Checkpoint
from .parts import Parts

T = TypeVar("T")

FORMAT = 2
"""Checkpoints whose tensors lie in files of `torch.distributed.checkpoint`."""

_WHOLE = ("random",)
"""Groups of tensors that are no parts of parameters: those of the first process count."""

_OF_ONE = ("history", "events")
"""What a state says about files that only the first process writes."""


class Store:
    """What the loop of training asks of its processes (`Ranks`), for the processes of a mesh."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._processes = parts.processes
        self._scratch = None if self._processes.first else tempfile.TemporaryDirectory(prefix="weft-")

    def desk(self, folder: Path) -> Path:
        return folder if self._scratch is None else Path(self._scratch.name)

    def told(self, work: Callable[[], T]) -> T:
        return self._processes.agreed(self._processes.first_alone(work))  # type: ignore[return-value]

    # ------------------------------------------------------------ gradients

    @torch.no_grad()
    def clip(self, parameters: Mapping[str, nn.Parameter], bound: float | None) -> Tensor:
        """Bounds the 2-norm of the gradients of the whole parameters; each part counts once, however many hold it."""
        squares = torch.zeros((), dtype=torch.float64, device=self._processes.device)
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                squares += parameter.grad.double().square().sum() / self._parts.copies(name)
        dist.all_reduce(squares)
        norm = squares.sqrt()
        if bound is not None:
            factor = torch.clamp(bound / (norm + 1e-6), max=1.0)
            for parameter in parameters.values():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor.to(parameter.grad.dtype))
        return norm

    def whole(self, name: str, part: Tensor) -> Tensor:
        return self._parts.layouts[name].whole(part, self._parts.mesh)

    def part(self, name: str, whole: Tensor) -> Tensor:
        return self._parts.layouts[name].part(whole, self._parts.mesh)

    # ------------------------------------------------------------ writing

    def save(self, folder: Path, checkpoint: Checkpoint, keep: int) -> None:
        """Writes a checkpoint; its folder gets its name when the parts of all processes are on the disk."""
        path = folder / f"step-{checkpoint.step:08d}"
        beside = path.with_name(path.name + files.WRITING)
        self._processes.first_alone(lambda: _emptied(beside))
        dcp.save(
            self._spread(checkpoint.tensors), checkpoint_id=beside, process_group=self._processes.talk,
        )
        own = sorted(beside.glob(f"__{self._processes.rank}_*"))
        for file in own:
            files.flush(file)
        hashes = {p.name: _described(p) for p in own}
        found = {name: entry for said in self._processes.all(hashes) for name, entry in said.items()}
        self._processes.first_alone(lambda: _finish(beside, path, checkpoint, found, keep))

    def _spread(self, groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
        """All tensors by `GROUP/NAME`; what has the shape of a part is a part of the whole."""
        found: dict[str, Any] = {}
        for group, tensors in groups.items():
            for name, tensor in tensors.items():
                owner = None if group in _WHOLE else self._owner(name, tensor)
                tensor = tensor.detach()
                if owner is None:
                    found[f"{group}/{name}"] = tensor
                else:
                    found[f"{group}/{name}"] = self._parts.layouts[owner].spread(tensor.contiguous(), self._parts.mesh)
        return found

    def _owner(self, name: str, tensor: Tensor) -> str | None:
        """The parameter that a tensor belongs to and has the shape of: `NAME`, or `KIND.NAME`."""
        owner = self._named(name)
        return owner if owner and tensor.shape == self._parts.parameters[owner].shape and tensor.dim() else None

    def _named(self, name: str) -> str | None:
        known = self._parts.parameters
        rest = name.split(".", 1)[-1]
        return name if name in known else rest if rest in known else None

    # ------------------------------------------------------------ reading

    def sweep(self, folder: Path) -> tuple[str, ...]:
        return self.told(lambda: files.sweep(folder))

    def regular(self, folder: Path) -> tuple[Path, ...]:
        def whole() -> tuple[Path, ...]:
            return tuple(p for p in checkpoints.found(folder) if damage(p) is None and checkpoints.is_regular(p))

        return self.told(whole)

    def forget_after(self, folder: Path, step: int) -> None:
        self._processes.first_alone(lambda: checkpoints.forget_after(folder, step))

    def newest_good(self, folder: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
        path, reasons = self.told(lambda: _newest_good(folder))
        return (None if path is None else self.load(path)), reasons

    def load(self, path: Path) -> Checkpoint:
        """Reads the parts of this process, whatever number of processes wrote them."""
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return self._cut(checkpoints.load(path))
        wanted = self._wanted(path)
        dcp.load(wanted, checkpoint_id=path, process_group=self._processes.talk)
        tensors: dict[str, dict[str, Tensor]] = {}
        for key, tensor in wanted.items():
            group, name = key.split("/", 1)
            tensors.setdefault(group, {})[name] = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        return Checkpoint(manifest["step"], tensors, self._state(json.loads((path / STATE).read_text("utf-8"))))

    def _wanted(self, path: Path) -> dict[str, Any]:
        """Room for what a checkpoint has for this process."""
        known = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
        found: dict[str, Any] = {}
        for key, entry in known.items():
            group, name = key.split("/", 1)
            owner = None if group in _WHOLE else self._named(name)
            if not isinstance(entry, TensorStorageMetadata) or (owner is None and group not in _WHOLE):
                continue
            if owner is None or tuple(entry.size) != self._parts.layouts[owner].shape or not entry.size:
                found[key] = torch.empty(entry.size, dtype=entry.properties.dtype)
                continue
            part = self._parts.parameters[owner]
            room = torch.empty(part.shape, dtype=entry.properties.dtype, device=part.device)
            found[key] = self._parts.layouts[owner].spread(room, self._parts.mesh)
        return found

    def _cut(self, saved: Checkpoint) -> Checkpoint:
        """What one process alone saved, cut for this one of several."""
        tensors: dict[str, dict[str, Tensor]] = {}
        for group, named in saved.tensors.items():
            for name, tensor in named.items():
                owner = None if group in _WHOLE else self._named(name)
                if owner is not None and tuple(tensor.shape) == self._parts.layouts[owner].shape:
                    tensor = self._parts.layouts[owner].part(tensor, self._parts.mesh)
                if owner is not None or group in _WHOLE:
                    tensors.setdefault(group, {})[name] = tensor
        return Checkpoint(saved.step, tensors, self._state(saved.state))

    def _state(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a checkpoint says besides tensors; other processes than the first know nothing of its files."""
        return state if self._processes.first else {**state, **dict.fromkeys(_OF_ONE)}


def _emptied(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _described(file: Path) -> dict[str, Any]:
    return {"sha256": files.sha256(file), "bytes": file.stat().st_size}


def _finish(beside: Path, path: Path, checkpoint: Checkpoint, found: Mapping[str, Any], keep: int) -> None:
    """Adds what the first process knows alone, gives the folder its name, and removes older ones."""
    (beside / STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
    names = (".metadata", STATE)
    for name in names:
        files.flush(beside / name)
    entries = {**{name: _described(beside / name) for name in names}, **found}
    manifest = {"format": FORMAT, "step": checkpoint.step, "files": dict(sorted(entries.items()))}
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    files.put_in_place(beside, path)
    checkpoints.prune(path, keep)


def _newest_good(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    reasons: list[str] = []
    for path in checkpoints.found(folder):
        reason = damage(path)
        if reason is None:
            return path, tuple(reasons)
        reasons.append(f"{path.name}: {reason}")
    if reasons:
        raise WeftError(errors.no_good_checkpoint(str(folder), reasons))
    return None, ()


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint of several processes, or of one."""
    return checkpoints.damage(path, formats=(checkpoints.FORMAT, FORMAT))

