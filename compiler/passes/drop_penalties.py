"""Drop penalties: side losses are for training; inference does without them and what only they need.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4], penalty.size: []) {
      block Demo
      %1 = exp(%x): [B, D:4]
      %2 = mean(%1, over=(B, D)): []
      return %1, %2
    }

After:

    module Demo (form=full, entry=Demo.forward)

    instance Demo

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = exp(%x): [B, D:4]
      return %1
    }
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.module import Module
from .dead_results import drop_results, used_results


@dataclass(frozen=True)
class DropPenalties:
    """Remove the outputs `penalty.NAME` of all functions."""

    name: str = "drop_penalties"

    def run(self, module: Module) -> Module:
        main = module.main
        wanted = tuple(i for i, name in enumerate(main.outputs) if not name.startswith("penalty."))
        graph = main.graph.copy()
        graph.outputs = tuple(graph.outputs[i] for i in wanted)
        without = replace(main, graph=graph, outputs=tuple(main.outputs[i] for i in wanted))
        module = replace(module, functions={**module.functions, main.name: without})
        return drop_results(module, used_results(module))
