"""How many tokens a model can look at: as many as its shortest table of positions has rows."""

from __future__ import annotations

from collections.abc import Mapping

from .ir.graph import Graph, Node, Value
from .ir.module import Module


def longest_context(module: Module) -> int | None:
    """The length of the shortest table that positions are looked up in; None when there is no such table.

    Beyond it a lookup would repeat the last row, so a decoder must not go there.
    """
    lengths: list[int] = []
    seen: set[tuple[str, tuple[tuple[int, int], ...]]] = set()
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(module.entry, ())]
    while waiting:
        name, positions = waiting.pop()
        if (name, positions) in seen:
            continue
        seen.add((name, positions))
        function = module.functions[name]
        known = {function.input(i): offset for i, offset in positions}
        for node in function.graph.nodes():
            offset = _offset(node, function.graph, known)
            if offset is not None:
                known.update(dict.fromkeys(node.values, offset))
            elif node.op == "take" and node.operands[1] in known:
                lengths += [n - known[node.operands[1]] for n in _length(node, function.graph)]
            elif node.op in ("call", "repeat"):
                given = tuple((i, known[v]) for i, v in enumerate(node.operands) if v in known)
                bodies = (node["callee"],) if node.op == "call" else node["bodies"]
                waiting += [(body, given) for body in bodies]
    return min(lengths, default=None)


_SAME = frozenset(("rename", "expand", "cast"))


def _offset(node: Node, graph: Graph, known: Mapping[Value, int]) -> int | None:
    """The number that a node adds to a position; None when it is no such sum."""
    if node.op == "position":
        return 0
    moved = next((v for v in node.operands if v in known), None)
    if moved is None:
        return None
    if node.op in _SAME:
        return known[moved]
    other = graph[node.operands[1 - node.operands.index(moved)]] if node.op == "add" else None
    return known[moved] + int(other["value"]) if other is not None and other.op == "const" else None


def _length(node: Node, graph: Graph) -> list[int]:
    table: Value = node.operands[0]
    size = graph.type(table).axis(node["axis"]).size
    return [size.value] if size.is_constant else []
