"""Inputs on which a precision cannot turn a hard choice, such as which experts a token goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.emit.reference import run
from ..compiler.ir.graph import Node
from ..compiler.ir.module import Module
from ..compiler.ir.primitive import align
from ..lang.axes import TensorType, union
from .inputs import Reading

Array = NDArray[Any]
ROWS, CANDIDATES = 2, 64


def decided(
    module: Module, weights: Mapping[str, Array], reading: Reading, sizes: tuple[int, int], unit: float,
    ambient: Mapping[str, Array] | None = None, candidates: int = CANDIDATES,
) -> dict[str, Array] | None:
    """Rows of inputs on which a precision cannot turn a hard choice; None for a model that makes none."""
    found = clearest(module, weights, reading, sizes, unit, ambient, candidates)
    return None if found is None else found[0]


def clearest(
    module: Module, weights: Mapping[str, Array], reading: Reading, sizes: tuple[int, int], unit: float,
    ambient: Mapping[str, Array] | None = None, candidates: int = CANDIDATES,
) -> tuple[dict[str, Array], float] | None:
    """Rows of inputs whose hard choices are far apart, and how far in spreads; None for a model that makes none.

    A `top` of two scores that are nearer than rounding can tell apart is a coin toss, after which two correct programs
    differ wholly; so is a `round` of a number between two others. Of many random rows those are taken whose closest
    choice is furthest apart, in units of the spread that the precision gives the scores (Monte-Carlo arithmetic).
    `sizes` are the lengths of text and source, `ambient` the values for one row, of another form than the full one.
    So many `candidates` are drawn.
    """
    choices = ("top", "round")
    if not any(node.op in choices for function in module.functions.values() for node in function.graph.nodes()):
        return None
    given = reading.drawn(candidates, *sizes, np.random.default_rng(2))
    around = {name: np.repeat(array, candidates, 0) for name, array in (ambient or {}).items()}
    runs: list[list[tuple[int, Array]]] = []
    for noise in (None, *((unit, np.random.default_rng((3, i))) for i in range(2))):
        seen: list[tuple[int, Array]] = []

        def watch(node: Node, types: tuple[TensorType, ...], operands: tuple[Array, ...], seen: Any = seen) -> None:
            if node.op == "top":
                type = TensorType(union(types))
                scores = align(operands[0], types[0], type.axes)
                if len(operands) == 2:
                    scores = np.where(align(operands[1], types[1], type.axes), scores, -np.inf)
                scores = np.moveaxis(scores, type.index(node["over"]), -1)
                seen.append((node["count"], scores.reshape(candidates, -1, scores.shape[-1])))
            if node.op == "round" and operands[0].shape[:1] == (candidates,):
                seen.append((0, operands[0].reshape(candidates, -1)))

        run(module, weights, given, around or None, noise=noise, observe=watch)
        runs.append(seen)
    closest = np.full(candidates, np.inf)
    for (count, exact), *noisy in zip(*runs, strict=True):
        others = [scores for _, scores in noisy]
        margin = _of_ranks(count, exact, others) if count else _of_steps(exact, others)
        closest = np.minimum(closest, margin)
    best = np.argsort(-closest, kind="stable")[:ROWS]
    return {name: array[best] for name, array in given.items()}, float(closest[best].min())


def _of_ranks(count: int, scores: Array, noisy: Sequence[Array]) -> Array:
    """How far apart the last score that is taken and the first that is not are, [rows], in spreads."""
    if count >= scores.shape[-1]:
        return np.full(len(scores), np.inf)
    kept = np.isfinite(scores)  # what a mask takes away is no choice
    errors = [np.where(kept, s - np.where(kept, scores, 0), 0) ** 2 for s in noisy]
    spread = np.sqrt(np.mean(errors, axis=(0, -1)))
    ordered = np.sort(scores, axis=-1)[..., ::-1]
    choice = np.isfinite(ordered[..., count])
    gap = np.where(choice, ordered[..., count - 1], np.inf) - np.where(choice, ordered[..., count], 0)
    return np.asarray((gap / np.maximum(spread, 1e-300)).min(axis=1))


def _of_steps(numbers: Array, noisy: Sequence[Array]) -> Array:
    """How far numbers are from where rounding takes them to another one, [rows], in spreads."""
    spread = np.sqrt(np.mean([(n - numbers) ** 2 for n in noisy], axis=(0, -1)))
    gap = np.abs(numbers - np.floor(numbers) - 0.5).min(axis=1)
    return np.asarray(gap / np.maximum(spread, 1e-300))
