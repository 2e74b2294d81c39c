"""Flatten: methods and fns of a spec give way to their bodies, so that rules and passes see a whole layer.

What stays a function: composites of the standard library, which back ends know by name (unless they only hand on what
they get), the layers of a repeat, and what keeps a state or draws dropout.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      up: Linear {
        param weight: [D:4, F:6] = normal(std=0.02)
      }
    }

    function Linear.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Linear
      %1 = param(name=weight): [D:4, F:6]
      %2 = dot(%x, %1, over=(D,)): [B, F:6]
      return %2
    }

    function identity(x: [B, F:6]) -> (value: [B, F:6]) {
      definition weft.nn.identity
      return %x
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = call(%x, callee=Linear.forward, instance=@up, site=up): [B, F:6]
      %2 = call(%1, callee=identity, instance=none, site=identity): [B, F:6]
      return %2
    }

After:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      up: Linear {
        param weight: [D:4, F:6] = normal(std=0.02)
      }
    }

    function Linear.read_weight() -> (value: [D:4, F:6]) {
      block Linear
      method read_weight
      %0 = param(name=weight): [D:4, F:6]
      return %0
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = call(callee=Linear.read_weight, instance=@up, site=up.weight): [D:4, F:6]
      %2 = dot(%x, %1, over=(D,)): [B, F:6]
      return %2
    }
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.module import Function, Module
from .editing import holding, is_composite
from .inline import inlined
from .products import read_by


@dataclass(frozen=True)
class Flatten:
    """Inline every method and every fn that no back end knows by name."""

    name: str = "flatten"

    def run(self, module: Module) -> Module:
        private = holding(module, "state", "dropout")
        kept = private | set(module.entries)
        return inlined(module, frozenset(n for n, f in module.functions.items() if n not in kept and _opens(f)))


def _opens(function: Function) -> bool:
    """Whether a function means nothing to a back end; one that only reads a weight is as short as can be."""
    if is_composite(function):
        return all(function.graph[v].op == "input" for v in function.graph.outputs)
    return read_by(function) is None
