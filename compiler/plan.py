"""What a model costs before anything is allocated: parameters, arithmetic, memory and states.

Everything is derived from the compiled module: parameters from the tree of instances, arithmetic by walking the
functions, states from the derived decoder. The cost of planning does not depend on the number of layers or their sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ..lang.sizes import Size
from .activations import activations
from .flops import Work, work
from .ir.graph import Node
from .ir.module import Function, Instance, Layers, Module, Path

BYTES = {"f32": 4, "bf16": 2}


@dataclass(frozen=True)
class Part:
    """A child of the model: its block, how many layers it has (1 when it does not repeat), its learned values."""

    name: str
    block: str
    layers: int
    parameters: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations per token: every contraction exactly, a multiply-add counted as two.

    `linear` does not depend on the length of the sequence. `attention` does: it is given for `context` tokens, with
    the scores of all pairs counted (a kernel that skips what the mask hides does about half). `other` counts one for
    every value that an elementwise operation, reduction or softmax produces. A training step does three times the
    forward pass: the backward pass needs two contractions for each.
    """

    linear: float
    attention: float
    other: float

    @property
    def forward(self) -> float:
        return self.linear + self.attention

    @property
    def training(self) -> float:
        return 3 * self.forward


@dataclass(frozen=True)
class Training:
    """Bytes that training with AdamW holds. Weights, gradients and both moments are float32; `activations` is an
    estimate of what the forward pass keeps for the backward pass, in the compute precision."""

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.activations


@dataclass(frozen=True)
class Inference:
    """Bytes that inference holds: weights, and states for `batch` sequences of `context` tokens."""

    weights: int
    states: int

    @property
    def total(self) -> int:
        return self.weights + self.states


@dataclass(frozen=True)
class StateRow:
    """Equal states of the decoder: their place (layer numbers as `*`), kind, axes, and values for all of them together."""

    path: str
    kind: str
    shape: str
    copies: int
    values: int


@dataclass(frozen=True)
class Plan:
    """The costs of one model at a context length and a batch size; bytes by precision (`f32`, `bf16`)."""

    model: str
    context: int
    batch: int
    parts: tuple[Part, ...]
    parameters: int
    embedding: int
    flops: Flops
    states: tuple[StateRow, ...]
    training: Mapping[str, Training]
    inference: Mapping[str, Inference]
