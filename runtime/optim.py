"""AdamW over named parameters, with a state that can be saved by name and put back bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..lang.plans import Term


class AdamW:
    """AdamW (Loshchilov and Hutter 2019) in float32, one fused kernel for all parameters of a group.

    Weight decay acts on the parameters named in `decayed` only: matrices that multiply activations. Biases, scales of
    norms and tables that are looked up are not pulled to zero.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], optimizer: Term, decayed: Collection[str]) -> None:
        self._names = {id(p): name for name, p in parameters.items()}
        groups = [
            {"params": [p for n, p in parameters.items() if n in decayed], "weight_decay": optimizer["decay"]},
            {"params": [p for n, p in parameters.items() if n not in decayed], "weight_decay": 0.0},
        ]
        self._inner = torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=0.0,
            betas=tuple(optimizer["betas"]),
            eps=optimizer["eps"],
            fused=True,
        )

    def step(self, rate: float) -> None:
        """One update from the gradients that the parameters hold, which are then forgotten."""
        for group in self._inner.param_groups:
            group["lr"] = rate
        self._inner.step()
        self._inner.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts: `first.NAME`, `second.NAME`, `count.NAME`."""
        found: dict[str, Tensor] = {}
        for parameter, state in self._inner.state.items():
            name = self._names[id(parameter)]
            found[f"first.{name}"] = state["exp_avg"]
            found[f"second.{name}"] = state["exp_avg_sq"]
            found[f"count.{name}"] = state["step"]
        return found

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Takes over what `state` gave. KeyError when a parameter is missing."""
        for group in self._inner.param_groups:
            for parameter in group["params"]:
                name = self._names[id(parameter)]
                self._inner.state[parameter] = {
                    "exp_avg": saved[f"first.{name}"].to(parameter.device),
                    "exp_avg_sq": saved[f"second.{name}"].to(parameter.device),
                    "step": saved[f"count.{name}"].to(parameter.device),
                }


def clip(parameters: Collection[nn.Parameter], bound: float | None) -> Tensor:
    """Scales all gradients together so that their joint 2-norm is at most `bound`; gives the norm they had."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if bound is not None:
        nn.utils.clip_grads_with_norm_(parameters, bound, norm)
    return norm
