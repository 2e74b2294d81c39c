"""The processes that train together, as the loop of training sees them: one alone, unless a recipe has a mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...compiler.ir.module import Module
from .. import files
from ..model import save_tensors
from ..optim.clipping import clip
from . import checkpoints
from .checkpoints import Checkpoint
from .few_bits import weights

if TYPE_CHECKING:
    from .objective import Learning
    from .task import Objective

T = TypeVar("T")


class Ranks(Protocol):
    """What differs when several processes train. All of them call each of these, in the same order."""

    def desk(self, folder: Path) -> Path:
        """Where this process writes its history and events: `folder`, or a place that nobody looks at."""
        ...

    def told(self, work: Callable[[], T]) -> T:
        """What one process finds out, for all of them."""
        ...

    def clip(self, parameters: Mapping[str, nn.Parameter], bound: float | None) -> Tensor:
        """Bounds the joint norm of all gradients of all processes; gives the norm they had."""
        ...

    def save(self, folder: Path, checkpoint: Checkpoint, keep: int) -> None: ...

    def sweep(self, folder: Path) -> tuple[str, ...]: ...

    def newest_good(self, folder: Path) -> tuple[Checkpoint | None, tuple[str, ...]]: ...

    def regular(self, folder: Path) -> tuple[Path, ...]: ...

    def load(self, path: Path) -> Checkpoint: ...

    def forget_after(self, folder: Path, step: int) -> None: ...

    def whole(self, name: str, part: Tensor) -> Tensor:
        """The whole of a tensor that lies like the parameter `name`, of the parts that the processes have."""
        ...

    def part(self, name: str, whole: Tensor) -> Tensor:
        """What this process has of a tensor that lies like the parameter `name`."""
        ...


class Share(Protocol):
    """What one process has of an emitted module: all of it, or its part.

    `model` computes; `parameters` are a module whose parameters the optimizer updates.
    """

    @property
    def model(self) -> nn.Module: ...

    @property
    def parameters(self) -> nn.Module: ...

    @property
    def ranks(self) -> Ranks: ...

    def compile(self, whole: str) -> None:
        """Puts the model through `torch.compile`: its method `whole`, or each layer if processes speak in between."""
        ...

    def objective(self, inner: Learning) -> Objective:
        """An objective of `model` for batches that all processes see."""
        ...

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The whole weights, one after another; all processes take part."""
        ...

    def write(self, path: Path) -> None:
        """Writes the whole weights into a file, all of them or none."""
        ...


class Team(Protocol):
    """The processes of a run."""

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        ...

    def first_alone(self, work: Callable[[], T]) -> T | None:
        """Done by the first process while the others wait; what it refuses all of them refuse."""
        ...

    def first_first(self, work: Callable[[], T]) -> T:
        """Done by the first process, then by the others, who find what it made."""
        ...

    def share(self, module: Module, model: nn.Module, again: Mapping[str, int], folder: Path) -> Share:
        """What this process has of an emitted module, which has its weights.

        `module` is its form, `again` the layers that are computed once more in the backward pass (see `to_torch`).
        """
        ...


@dataclass(frozen=True, eq=False)
class Whole:
    """All of a module."""

    model: nn.Module
    ranks: Ranks

    @property
    def parameters(self) -> nn.Module:
        return self.model

    def compile(self, whole: str) -> None:
        setattr(self.model, whole, torch.compile(getattr(self.model, whole), dynamic=False))

    def objective(self, inner: Learning) -> Objective:
        return inner

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from weights(self.model)

    def write(self, path: Path) -> None:
        save_tensors(dict(self.weights()), path)


class Alone:
    """One process, without a mesh."""

    first = True

    def first_alone(self, work: Callable[[], T]) -> T | None:
        return work()

    def first_first(self, work: Callable[[], T]) -> T:
        return work()

    def share(self, module: Module, model: nn.Module, again: Mapping[str, int], folder: Path) -> Whole:
        return Whole(model, self)

    def desk(self, folder: Path) -> Path:
        return folder

    def told(self, work: Callable[[], T]) -> T:
        return work()

    def clip(self, parameters: Mapping[str, nn.Parameter], bound: float | None) -> Tensor:
        return clip(list(parameters.values()), bound)

    def save(self, folder: Path, checkpoint: Checkpoint, keep: int) -> None:
        checkpoints.save(folder, checkpoint, keep)

    def sweep(self, folder: Path) -> tuple[str, ...]:
        return files.sweep(folder)

    def newest_good(self, folder: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
        return checkpoints.newest_good(folder)

    def regular(self, folder: Path) -> tuple[Path, ...]:
        return checkpoints.regular(folder)

    def load(self, path: Path) -> Checkpoint:
        return checkpoints.load(path)

    def forget_after(self, folder: Path, step: int) -> None:
        checkpoints.forget_after(folder, step)

    def whole(self, name: str, part: Tensor) -> Tensor:
        return part

    def part(self, name: str, whole: Tensor) -> Tensor:
        return whole


ALONE = Alone()
