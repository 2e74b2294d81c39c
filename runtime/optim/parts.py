"""What an optimizer has to know of each parameter, and what the trainer asks of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor, nn

from ...compiler.hidden import Matrix


class Optimizer(Protocol):
    """Updates parameters in place; everything it remembers has the name of a parameter."""

    def step(self, rate: float) -> None:
        """One update from the gradients that the parameters hold, which are then forgotten."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What it remembers, as `KIND.NAME`."""
        ...

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Takes over what `state` gave: all steps after it are those that would have followed."""
        ...

    def averages(self) -> dict[str, Tensor] | None:
        """The weights to judge and to keep, by name, where they are others than the parameters hold."""
        ...


@dataclass(frozen=True)
class Update:
    """What is different for a parameter: a factor of the rate, and a decay of its own (None: that of the recipe)."""

    rate: float = 1.0
    decay: float | None = None


Cut = Callable[[str, Tensor], Tensor]
"""From what lies like a parameter, which is named, to a part of it, or to the whole."""


def _alone(name: str, values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, eq=False)
class Parts:
    """The parameters by name. Weight decay acts on those in `decayed`, and on those whose update has a decay.

    `matrices` are those that are hidden weight matrices, and how. Where several processes have a part of each
    parameter, all of them call `whole` and `part` for the same names in the same order.
    """

    parameters: Mapping[str, nn.Parameter]
    decayed: Collection[str]
    updates: Mapping[str, Update] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    whole: Cut = _alone
    part: Cut = _alone

    def only(self, names: Collection[str]) -> Parts:
        """Some of the parameters."""
        chosen = {name: p for name, p in self.parameters.items() if name in names}
        return replace(self, parameters=chosen)

    def factor(self, name: str) -> float:
        """What the rate is multiplied with."""
        return self.updates.get(name, Update()).rate

    def decay(self, name: str, usual: float) -> float:
        """The decay of a parameter, where `usual` is that of the recipe."""
        own = self.updates.get(name, Update()).decay
        return own if own is not None else usual if name in self.decayed else 0.0
