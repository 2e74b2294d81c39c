"""Where the weights of an adapted model start: the base as it is, the adapters so that nothing changes yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...compiler.adaptation import Adaptation
from ...compiler.emit.weights import initial_weight
from .matrix import matrix


def initial(adaptation: Adaptation, base: Mapping[str, Tensor], seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """`(path, tensor)` of every weight of an adapted model; `base` are those of the original by their paths there.

    Adapters are drawn as their blocks say. The lengths of DoRA are those of the base weights (Liu et al. 2024, section
    4.1), which no initialiser can say, because it sees no other weight.
    """
    was = {new: old for old, new in adaptation.paths.items()}
    for path, parameter in adaptation.module.parameters():
        owner, _, name = path.rpartition(".")
        if path in was:
            yield path, base[was[path]]
        elif name == "magnitude" and adaptation.stand_ins[owner].block == "DoRA":
            weight = base[was[f"{owner}.base.weight"]]
            lengths = matrix(adaptation.parameters[f"{owner}.base.weight"]).flat(weight.double()).norm(dim=1)
            yield path, lengths.reshape(parameter.shape).to(weight.dtype)
        else:
            yield path, torch.from_numpy(initial_weight(path, parameter, seed))
