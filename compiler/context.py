"""How many tokens a model can look at: as many as its shortest table of positions has rows."""

from __future__ import annotations

from .ir.graph import Graph, Node, Value
from .ir.module import Module


def longest_context(module: Module) -> int | None:
    """The length of the shortest table that positions are looked up in; None when there is no such table.

    Beyond it a lookup would repeat the last row, so a decoder must not go there.
    """
    lengths: list[int] = []
    seen: set[tuple[str, tuple[int, ...]]] = set()
    waiting: list[tuple[str, tuple[int, ...]]] = [(module.entry, ())]
    while waiting:
        name, positions = waiting.pop()
        if (name, positions) in seen:
            continue
        seen.add((name, positions))
        function = module.functions[name]
        known = {function.input(i) for i in positions}
        for node in function.graph.nodes():
            if node.op == "position" or (node.op in _SAME and any(v in known for v in node.operands)):
                known.update(node.values)
            elif node.op == "take" and node.operands[1] in known:
                lengths += _length(node, function.graph)
            elif node.op in ("call", "repeat"):
                given = tuple(i for i, v in enumerate(node.operands) if v in known)
                bodies = (node["callee"],) if node.op == "call" else node["bodies"]
                waiting += [(body, given) for body in bodies]
    return min(lengths, default=None)


_SAME = frozenset(("rename", "expand", "cast"))


def _length(node: Node, graph: Graph) -> list[int]:
    table: Value = node.operands[0]
    size = graph.type(table).axis(node["axis"]).size
    return [size.value] if size.is_constant else []
