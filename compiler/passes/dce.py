"""DCE: what no output needs is removed: nodes, functions, results of calls, parameters and instances.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      up: Linear {
        param weight: [D:4, F:6] = normal(std=0.02)
        param offset: [F:6] = zeros()
      }
    }

    function Linear.forward(x: [B, D:4]) -> (value.0: [B, F:6], value.1: [B]) {
      block Linear
      %1 = param(name=weight): [D:4, F:6]
      %2 = dot(%x, %1, over=(D,)): [B, F:6]
      %3 = sum(%2, over=(F,)): [B]
      return %2, %3
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = call(%x, callee=Linear.forward, instance=@up, site=up): ([B, F:6], [B])
      %2 = exp(%x): [B, D:4]
      return %1.0
    }

After:

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

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = call(%x, callee=Linear.forward, instance=@up, site=up): [B, F:6]
      return %1
    }

The entry keeps its signature; so do the fns of the standard library, which back ends know by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.module import Module
from .dead_parameters import drop_parameters
from .dead_results import drop_results, used_results


@dataclass(frozen=True)
class Eliminate:
    """Remove what no output of the entry needs."""

    name: str = "dce"

    def run(self, module: Module) -> Module:
        return drop_parameters(drop_results(module, used_results(module)))
