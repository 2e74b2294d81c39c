"""KeepLast: the logits of chosen tokens instead of all tokens of a step.

A decoder needs what comes after the last token of each row; the product with the vocabulary is by far the widest of
all. The numbers of the tokens are the ambient value `kept`, int[B, kept].

Before:

    module Demo (form="step+rows", entry=Demo.forward, stream=(T, S), batch=B, sequence=T)

    instance Demo {
      param table: [V:9, D:4] = normal(std=0.02)
      param head: [D:4, V:9] = normal(std=0.02)
    }

    function Demo.forward(tokens: int[B, T]) -> (value: [B, T, V:9]) {
      block Demo
      %1 = param(name=table): [V:9, D:4]
      %2 = take(%1, %tokens, axis=V): [B, T, D:4]
      %3 = param(name=head): [D:4, V:9]
      %4 = dot(%2, %3, over=(D,)): [B, T, V:9]
      return %4
    }

After:

    module Demo (form="step+rows", entry=Demo.forward, stream=(T, S), batch=B, sequence=T)

    instance Demo {
      param table: [V:9, D:4] = normal(std=0.02)
      param head: [D:4, V:9] = normal(std=0.02)
    }

    function Demo.forward(tokens: int[B, T]) -> (value: [B, N:kept, V:9]) {
      block Demo
      %1 = param(name=table): [V:9, D:4]
      %2 = take(%1, %tokens, axis=V): [B, T, D:4]
      %3 = param(name=head): [D:4, V:9]
      %4 = ambient(name=kept): int[B, N:kept]
      %5 = take(%2, %4, axis=T): [B, N:kept, D:4]
      %6 = dot(%5, %3, over=(D,)): [B, N:kept, V:9]
      return %6
    }

A module stays as it is when its logits are not made token by token from one value, or something else gives the wide
axis of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...lang.axes import Axis
from ...lang.sizes import Size
from ..ir.graph import Graph, Origin, Value
from ..ir.kept import KEPT, KEPT_SIZE, kept_type
from ..ir.module import Function, Module
from ..ir.ops import ELEMENTWISE_NAMES, build
from ..ir.splice import AxisMap, fresh
from .editing import closed, opened
from .products import reads

_SOURCES = ("const", "table", "param", "index", "size")
_POSITIONWISE = ELEMENTWISE_NAMES | frozenset(
    ("dot", "cast", "expand", "softmax", "sum", "mean", "max", "concat", "slice", "merge")
)


@dataclass(frozen=True)
class KeepLast:
    """Compute the logits of the tokens `kept` alone, in a step with rows."""

    name: str = "keep_last"

    def run(self, module: Module) -> Module:
        entry = module.main
        if module.form != "step+rows" or module.stream is None or not entry.graph.outputs:
            return module
        changed = _kept(module, entry, module.stream[0])
        return replace(module, functions={**module.functions, entry.name: changed}) if changed else module


def _kept(module: Module, entry: Function, token: str) -> Function | None:
    graph = opened(entry)
    logits = graph.outputs[0]
    axes = graph.type(logits).axes
    time = next((a for a in axes if a.size == Size.symbol(token)), None)
    if time is None or len(axes) != 3 or not axes[-1].size.is_constant:
        return None
    suffix, frontier = _suffix(module, entry, graph, logits, axes[-1])
    if len(frontier) != 1 or not suffix:
        return None
    (hidden,) = frontier
    if not {a.name for a in axes[:2]} <= set(graph.type(hidden).names):
        return None
    used = {n for node in graph.nodes() for t in node.types for n in t.names}
    kept = Axis(fresh("N", used), Size.symbol(KEPT_SIZE))
    origin = Origin(None, "keep_last", (graph[logits].origin,), graph[logits].origin.name)
    batch = next(a for a in axes[:2] if a != time)
    numbers = build(graph, "ambient", origin=origin, name=KEPT, type=kept_type(batch, kept.name))
    chosen = build(graph, "take", hidden, numbers, origin=origin, axis=time.name)
    wanted = tuple(kept if a == time else a for a in graph.type(hidden).axes)
    if graph.type(chosen).axes != wanted:
        chosen = build(graph, "expand", chosen, origin=origin, axes=wanted)
    became = {hidden: chosen}
    map = AxisMap({time.name: kept.name}, {}, {token: kept.size})
    for node in [n for n in graph.nodes() if n.id in suffix]:
        operands = tuple(became.get(v, v) for v in node.operands)
        if node.op in _SOURCES or (node.op == "call" and not node.operands):
            continue
        became[node.values[0]] = build(graph, node.op, *operands, origin=node.origin, **map.attributes(node))
    graph.outputs = (became[logits], *graph.outputs[1:])
    return closed(entry, graph)


def _suffix(
    module: Module, entry: Function, graph: Graph, logits: Value, wide: Axis
) -> tuple[set[int], tuple[Value, ...]]:
    """The nodes from which on values have the axis of the vocabulary, and what they start from; nothing if some of
    them look beyond a token."""
    known = reads(module, entry)
    found: set[int] = set()
    frontier: dict[Value, None] = {}
    waiting = [logits]
    while waiting:
        value = waiting.pop()
        node = graph[value]
        if node.op in _SOURCES or value in known:
            found.add(node.id)
        elif any(a == wide for a in graph.type(value).axes):
            if node.op not in _POSITIONWISE or len(graph.users(value)) > (value != logits):
                return set(), ()
            found.add(node.id)
            waiting += node.operands
        else:
            frontier[value] = None
    return found, tuple(frontier)
