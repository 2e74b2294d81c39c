"""Muon."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...lang.plans import Term
from .adamw import adamw
from .matrices import as_matrices
from .of_torch import OfTorch
from .one_by_one import OneByOne, State
from .parts import Parts, Update

_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPS = 1e-7
COMPUTE = torch.bfloat16
"""What Newton and Schulz's products are made in."""


class Muon(OneByOne):
    """Muon (Jordan et al. 2024): momentum whose matrices are made nearly orthogonal, for hidden weights.

    m = momentum m + (1 - momentum) g,  u = orthogonal(m), with `nesterov` of (1 - momentum) g + momentum m,
    p = p (1 - rate decay) - rate s u. With outputs A and inputs B the scale s is sqrt(max(1, A / B)) for `original` and
    0.2 sqrt(max(A, B)) for `adamw`, which gives updates the size that AdamW's have (Liu et al. 2025), so that its rates
    fit. As `torch.optim.Muon`; a weight with more axes counts as the matrix from all its inputs to all its outputs, and
    experts as one matrix each. It remembers `momentum`.
    """

    def __init__(self, parts: Parts, term: Term) -> None:
        super().__init__(parts, term["decay"])
        self._matrices = parts.matrices
        self._momentum, self._nesterov, self._scale = term["momentum"], term["nesterov"], term["scale"]

    def update(self, name: str, parameter: nn.Parameter, gradient: Tensor, state: State, rate: float) -> None:
        momentum = state.setdefault("momentum", torch.zeros_like(gradient))
        momentum.lerp_(gradient, 1 - self._momentum)
        wanted = gradient.lerp(momentum, self._momentum) if self._nesterov else momentum
        matrices, back = as_matrices(self._parts.whole(name, wanted), self._matrices[name])
        outputs, inputs = matrices.shape[-2:]
        scale = max(1.0, outputs / inputs) ** 0.5 if self._scale == "original" else 0.2 * max(outputs, inputs) ** 0.5
        parameter.mul_(1 - rate * self.decay(name))
        parameter.add_(self._parts.part(name, back(orthogonal(matrices))), alpha=-rate * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [.., A, B] with nearly the same singular vectors and singular values near 1, in `COMPUTE`.

    Five steps of Newton and Schulz, X = a X + (b X Xᵀ + c (X Xᵀ)²) X, with coefficients that converge fast near 0 and
    leave singular values between 0.7 and 1.2.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(COMPUTE)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
    add = torch.addmm if x.dim() == 2 else torch.baddbmm
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = add(x, add(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if tall else x


class MuonAndAdamW:
    """Muon for the hidden matrices, AdamW at `rest` times the rate for tables, the head, norms and biases."""

    def __init__(self, parts: Parts, term: Term) -> None:
        hidden = [name for name in parts.parameters if name in parts.matrices]
        others = [name for name in parts.parameters if name not in parts.matrices]
        slower = {n: Update(parts.factor(n) * term["rest"], parts.updates.get(n, Update()).decay) for n in others}
        rest = parts.only(others)
        self._muon = Muon(parts.only(hidden), term)
        self._adamw: OfTorch = adamw(Parts(rest.parameters, rest.decayed, slower), term)

    def step(self, rate: float) -> None:
        self._muon.step(rate)
        self._adamw.step(rate)

    def state(self) -> dict[str, Tensor]:
        return {**self._muon.state(), **self._adamw.state()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        self._muon.restore({key: t for key, t in saved.items() if key.startswith("momentum.")})
        self._adamw.restore(saved)

    def averages(self) -> dict[str, Tensor] | None:
        return None
