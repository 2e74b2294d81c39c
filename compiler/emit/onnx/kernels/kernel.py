"""What a kernel is: an operator that stands for a composite, under conditions, and the record of every choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..activation import Activation
from ..layout import Tensor, Writer


@dataclass(frozen=True)
class Declined:
    """Why a kernel does not stand for a call."""

    reason: str


Results = tuple[Tensor, ...] | Declined


@dataclass(frozen=True)
class Kernel:
    """An operator (or a few) by the name people know it by; `write` writes its nodes, or says why it can not."""

    operator: str
    write: Callable[[Writer, Activation], Results]


# The definition of a composite -> kernels, of which the first that does not decline is taken.
Kernels = Mapping[str, tuple[Kernel, ...]]


@dataclass(frozen=True)
class Decision:
    """Which operator was written for a call of a composite ("" for its body), and what others had against it."""

    definition: str
    operator: str
    declined: tuple[str, ...] = ()
