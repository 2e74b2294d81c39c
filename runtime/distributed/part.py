"""What one process has of an emitted module, as a stage of training sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..hub.tensors import write_tensors
from ..training.objective import Learning
from .objective import Together
from .parts import Parts, PartsOfModel, layers
from .pipeline import Pipelined
from .store import Store


@dataclass(frozen=True, eq=False)
class Part:
    """One process' part (`Share`)."""

    parts: Parts

    @property
    def model(self) -> nn.Module:
        return self.parts.model

    @cached_property
    def parameters(self) -> nn.Module:
        return PartsOfModel(self.parts)

    @cached_property
    def ranks(self) -> Store:
        return Store(self.parts)

    def compile(self, whole: str) -> None:
        """Layer by layer: what the processes say to each other stays outside. WeftError (E0784) if there are none."""
        found = layers(self.model)
        if not found:
            what, mesh = "`compile` for a model without layers", self.parts.processes.mesh
            raise WeftError(errors.not_on_mesh(what, "", "leave `compile` away", None, mesh.span))
        for layer in found:
            setattr(layer, "forward", torch.compile(layer.forward, dynamic=False))  # noqa: B010 (mypy knows a method)

    def objective(self, inner: Learning) -> Together:
        return Together(inner, self.parts) if self.parts.stage is None else Pipelined(inner, self.parts)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.parts.whole()

    def write(self, path: Path) -> None:
        """Writes the whole weights, of which only one at a time is anywhere as a whole."""
        whole = self.weights()
        if self.parts.processes.first:
            described = [(name, self.parts.dtype, layout.shape) for name, layout in self.parts.layouts.items()]
            write_tensors(path, described, lambda name: next(whole)[1])
        else:
            for _ in whole:
                pass
