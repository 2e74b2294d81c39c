"""How many different numbers an input of tokens may hold: as many as the smallest table it is looked up in has rows."""

from __future__ import annotations

from .ir.module import Module
from .ir.needs import callees


def vocabulary(module: Module, name: str) -> int | None:
    """The number of tokens that the entry's input `name` may hold; None when it is never looked up in a table."""
    sizes: list[int] = []
    start = [i for i, (input, _) in enumerate(module.main.inputs) if input == name]
    seen: set[tuple[str, int]] = set()
    waiting = [(module.entry, i) for i in start]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        function = module.functions[place[0]]
        known = {function.input(place[1])}
        for node in function.graph.nodes():
            given = [i for i, v in enumerate(node.operands) if v in known]
            if node.op == "take" and node.operands[1] in known:
                size = function.graph.type(node.operands[0]).axis(node["axis"]).size
                sizes += [size.value] if size.is_constant else []
            elif node.op in ("rename", "expand", "shift"):
                known.update(node.values if given else ())
            elif node.op in ("call", "repeat"):
                waiting += [(callee, i) for callee in callees(node) for i in given]
    return min(sizes, default=None)
