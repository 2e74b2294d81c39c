"""Tables of the angles that queries and keys are rotated by, computed when a model is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...ir.module import Function, Module
from ...ir.needs import callees
from ...passes.cached_attention import ROPES
from ..reference import evaluate


def rotation_angles(module: Module, function: Function, count: int) -> NDArray[np.float64]:
    """What the rotations in a function turn by at positions 0 .. count - 1: [count, K / 2], in float64."""
    graph = function.graph
    for node in graph.nodes():
        definitions = [module.functions[name].definition for name in callees(node)]
        if any(d in ROPES for d in definitions):
            names = [name for name, _ in module.functions[node["callee"]].inputs]
            positions = np.arange(count)[None]
            (angles,) = evaluate(module, function, (node.operands[names.index("angle")],), {"positions": positions})
            return np.broadcast_to(angles, (1, count, angles.shape[-1]))[0]
    raise ValueError(f"nothing is rotated in `{function.name}`")
