"""Weights for a module: as its initialisers say, or drawn so that every parameter matters in a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np

from ...lang.axes import TensorType
from ..ir.module import Init, Module, Parameter
from ..ir.primitive import Array


def _normal(g: np.random.Generator, shape: tuple[int, ...], init: Init) -> Array:
    return init.get("mean", 0.0) + init.get("std", 0.02) * g.standard_normal(shape)


def _uniform(g: np.random.Generator, shape: tuple[int, ...], init: Init) -> Array:
    return g.uniform(init.get("low", 0.0), init.get("high", 1.0), shape)


def _truncated(g: np.random.Generator, shape: tuple[int, ...], init: Init) -> Array:
    """A normal draw within two standard deviations (before the cut); what falls outside is drawn again."""
    draw = g.standard_normal(shape)
    while (outside := np.abs(draw) > 2).any():
        draw[outside] = g.standard_normal(int(outside.sum()))
    return init.get("mean", 0.0) + init.get("std", 0.02) * draw


# kind of initialiser -> draw(generator, shape, init)
DRAWS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...], Init], Array]] = {
    "normal": _normal,
    "truncated_normal": _truncated,
    "uniform": _uniform,
    "zeros": lambda g, shape, init: np.zeros(shape),
    "ones": lambda g, shape, init: np.ones(shape),
    "constant": lambda g, shape, init: np.full(shape, init.get("value", 0.0)),
}


def _generator(seed: int, path: str) -> np.random.Generator:
    """A generator of its own for each parameter path, so that layers differ and order does not matter."""
    digest = hashlib.blake2b(f"{seed}:{path}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def initial_weights(module: Module, seed: int = 0) -> Iterator[tuple[str, Array]]:
    """`(path, float32 array)` of every parameter as its initialiser says, one at a time."""
    for path, parameter in module.parameters():
        yield path, initial_weight(path, parameter, seed)


def initial_weight(path: str, parameter: Parameter, seed: int = 0) -> Array:
    """One parameter as its initialiser says, in float32; the draw depends on the seed and the path alone."""
    return DRAWS[parameter.init.kind](_generator(seed, path), parameter.shape, parameter.init).astype(np.float32)


def random_weights(module: Module, seed: int = 0, scale: float = 1.0) -> dict[str, Array]:
    """Float32 weights under which every parameter matters: a wrong or forgotten one changes the result.

    What starts at a constant is scattered around it, what starts at zero is not zero, and matrices are scaled by their
    fan-in so that scores and activations are of order 1. `scale` multiplies the embedding tables: a second set with
    0.01 brings out mistakes that large activations hide (such as a wrong epsilon).
    """
    fan_in = _fan_in(module)
    return {path: _scattered(parameter, fan_in, seed, path, scale) for path, parameter in module.parameters()}


def _scattered(parameter: Parameter, fan_in: Mapping[Parameter, int], seed: int, path: str, scale: float) -> Array:
    generator, shape, init = _generator(seed, path), parameter.shape, parameter.init
    if init.kind == "uniform":
        draw = _uniform(generator, shape, init)
    elif init.kind not in ("normal", "truncated_normal"):
        centre = float(DRAWS[init.kind](generator, (), init))
        draw = centre + (0.2 * abs(centre) if centre else 0.2) * generator.standard_normal(shape)
    else:
        terms = fan_in.get(parameter, prod(shape[:-1]))
        draw = generator.standard_normal(shape) * (terms**-0.5 if terms else scale)
    return draw.astype(np.float32)


def _fan_in(module: Module) -> dict[Parameter, int]:
    """How many products each sum of a `dot` with a parameter has; 0 for tables that are looked up (tied heads too)."""
    found: dict[tuple[str, TensorType], int] = {}
    for function in module.functions.values():
        for node in function.graph.nodes():
            if node.op != "param":
                continue
            key = (node["name"], node.types[0])
            for user, position in function.graph.users(node.values[0]):
                use = function.graph[user]
                if use.op == "dot":
                    found.setdefault(key, prod(node.types[0].axis(n).size.value for n in use["over"]))
                if use.op == "take" and position == 0:
                    found[key] = 0
    return {p: found[p.name, p.type] for _, p in module.parameters() if (p.name, p.type) in found}
