"""An emitted module in a form of rows, called by the names of what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...compiler.ir.module import Module
from ...compiler.ir.sources import one_per_row
from ...lang.plans import PrecisionPlan
from ..inputs import Reading
from .batches import Batch

COMPUTE = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


@dataclass(frozen=True, eq=False)
class Emitted:
    """An emitted module with what is known of it. `module` is what it was emitted from, in full form."""

    module: Module
    model: nn.Module
    precision: PrecisionPlan
    device: torch.device

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """A batch by the names that the module has for its parts."""
        reading = Reading.of(self.module)
        arrays: dict[str, Any] = {reading.tokens: batch.tokens}
        arrays |= {"positions": batch.positions, "segments": batch.segments}
        if batch.source is not None:
            name = reading.sources[0]
            arrays[name] = batch.source.tokens
            arrays |= {f"{name}_positions": batch.source.positions, f"{name}_segments": batch.source.segments}
        defaults = dict(self.module.defaults)
        for name in reading.optional:
            array = batch.facts.get(name)
            arrays[name] = np.full(batch.tokens.shape, int(defaults[name])) if array is None else array
        return {name: self.tensor(array) for name, array in arrays.items()}

    @property
    def loss_inputs(self) -> tuple[str, ...]:
        """The names that the emitted `loss` takes, in order, without those that may be left out."""
        taken = inspect.signature(self.model.loss).parameters.values()  # type: ignore[arg-type]
        return tuple(p.name for p in taken if p.default is inspect.Parameter.empty)

    def tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def autocast(self) -> torch.autocast:
        """The precision of the recipe, for everything computed within."""
        compute = COMPUTE[self.precision.compute]
        return torch.autocast(self.device.type, compute, enabled=compute != torch.float32)

    def states(self, batch: Batch) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """What goes into the head, each [rows, T, ..], and the penalties by name.

        Modules whose head does not stand apart give their scores here, which `scores` then leaves as they are.
        """
        whole: Any = getattr(self.model, "hidden", None) or self.model.forward
        results = _called(whole, self.inputs(batch))
        results = results if isinstance(results, tuple) else (results,)
        names = [n.removeprefix("penalty.") for n in self.module.main.outputs if n.startswith("penalty.")]
        if hasattr(self.model, "hidden"):
            cut = len(results) - len(names)
            return results[:cut], dict(zip(names, results[cut:], strict=True))
        return results[:1], dict(results[1]) if names else {}

    def scores(self, states: tuple[Tensor, ...]) -> Tensor:
        """The scores [.., V] of states [.., D], in float32 or more."""
        logits: Any = getattr(self.model, "logits", None)
        found: Tensor = states[0] if logits is None else logits(*(s[None] for s in states)).squeeze(0)
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def pooled(self, batch: Batch, values: Tensor) -> Tensor:
        """One vector for each row, [rows, ..], of values [rows, T, ..] of its tokens.

        That of the last token where tokens see those before them alone, that of the first one otherwise.
        """
        if self.module.stream is None:
            return values[:, 0]
        count = self.tensor((batch.segments > 0).sum(1)) - 1
        return values[torch.arange(len(values), device=values.device), count]

    def averaged(self, batch: Batch, values: Tensor) -> Tensor:
        """The mean over the tokens of each row, padding left out; a module with one vector for a row gives that."""
        if one_per_row(self.module):
            return values
        kept = self.tensor((batch.segments > 0).astype("float32"))[..., None]
        return (values * kept).sum(1) / kept.sum(1)


def _called(function: Callable[..., Any], values: Mapping[str, Tensor]) -> Any:
    """Calls a method of an emitted module with those of the values that it takes."""
    taken = inspect.signature(function).parameters
    return function(**{name: value for name, value in values.items() if name in taken})
