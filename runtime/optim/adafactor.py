"""Adafactor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...compiler.hidden import Matrix
from ...lang.plans import Term
from .matrices import as_matrices
from .one_by_one import OneByOne, State, counted
from .parts import Parts

_EPS = 1e-30
_SMALLEST_SIZE = 1e-3
_POWER = -0.8


class Adafactor(OneByOne):
    """Adafactor (Shazeer and Stern 2018, algorithm 4) without momentum: the second moment as a row and a column.

    b = 1 - t^-0.8,  V = b V + (1 - b) (g² + 1e-30),  u = g / sqrt(V),  u = u / max(1, rms(u) / clip),  p = p - rate u.
    Of matrices the means of rows R and columns C are kept instead of V: V = R C / mean(R). With `relative` the rate is
    multiplied with max(1e-3, rms(p)); the decay has the same rate. A weight with more than two axes counts as the
    matrices it is, another one as those of its last two axes. It remembers `row` and `column`, or `second`, and
    `count`.

    The paper's own schedule min(1e-2, 1 / sqrt(t)), with its warm-up 1e-6 t, is
    `lr = inverse_sqrt(peak = 1e-2, warmup = 10_000 steps)`.
    """

    def __init__(self, parts: Parts, term: Term) -> None:
        super().__init__(parts, term["decay"])
        self._matrices = parts.matrices
        self._relative, self._clip = term["relative"], term["clip"]

    def update(self, name: str, parameter: nn.Parameter, gradient: Tensor, state: State, rate: float) -> None:
        keep = 1 - float(counted(state)) ** _POWER
        if self._relative:
            rate *= max(_SMALLEST_SIZE, _rms(self._parts.whole(name, parameter)))
        if gradient.dim() < 2:
            step = _divided(gradient, state, keep)
            size = _rms(self._parts.whole(name, step))
        else:
            whole = _divided_by_means(self._parts.whole(name, gradient), self._matrices.get(name), state, keep)
            step, size = self._parts.part(name, whole), _rms(whole)
        step /= max(1.0, size / self._clip)
        parameter.mul_(1 - rate * self.decay(name))
        parameter.add_(step, alpha=-rate)


def _divided(gradient: Tensor, state: State, keep: float) -> Tensor:
    """The gradient divided by the root of its second moment, which is brought up to date."""
    square = gradient.square().add_(_EPS)
    second = state["second"] = state.get("second", torch.zeros_like(square)).lerp(square, 1 - keep)
    return gradient * second.rsqrt()


def _divided_by_means(gradient: Tensor, matrix: Matrix | None, state: State, keep: float) -> Tensor:
    """The same for a whole matrix, whose second moment is known by the means of its rows and columns."""
    rows_of, back = as_matrices(gradient.square().add_(_EPS), matrix)
    row, column = rows_of.mean(dim=-1), rows_of.mean(dim=-2)
    row = state["row"] = state.get("row", torch.zeros_like(row)).lerp(row, 1 - keep)
    column = state["column"] = state.get("column", torch.zeros_like(column)).lerp(column, 1 - keep)
    shares = (row / row.mean(dim=-1, keepdim=True)).rsqrt()
    return gradient * back(shares[..., :, None] * column.rsqrt()[..., None, :])


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
