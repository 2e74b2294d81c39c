"""Which values of a function are needed, and how often: what is not needed is not written."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.graph import Node, Value
from ...ir.module import Function, Module
from ...ir.needs import callees
from .masks import structure


class Liveness:
    """What is needed in the functions of one module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        nodes = (n for f in module.functions.values() for n in f.graph.nodes())
        self.bodies = {body for n in nodes if n.op == "repeat" for body in n["bodies"]}
        self._uses: dict[str, Mapping[Value, int]] = {}

    def uses(self, function: Function) -> Mapping[Value, int]:
        """How often each value is used by what is needed for the outputs and the next states."""
        if function.name not in self._uses:
            self._uses[function.name] = self._count(function)
        return self._uses[function.name]

    def _count(self, function: Function) -> Mapping[Value, int]:
        count: dict[Value, int] = {}
        for value in (*function.graph.outputs, *(s.update for s in function.states)):
            count[value] = count.get(value, 0) + 1
        for node in reversed(list(function.graph.nodes())):
            if any(v in count for v in node.values) or self.remembers(node):
                for value in (node.operands[i] for i in self.operands(function, node)):
                    count[value] = count.get(value, 0) + 1
                for value in node.values[:1]:
                    count.setdefault(value, 0)
        return count

    def operands(self, function: Function, node: Node) -> tuple[int, ...]:
        """The operands that the source of a node holds: not those that a callee ignores or that a kernel implies."""
        if node.op != "call":
            return tuple(range(len(node.operands)))
        live = self.inputs(self.module.functions[node["callee"]])
        return tuple(i for i in live if not structure(self.module, function, node, i))

    def inputs(self, function: Function) -> tuple[int, ...]:
        """The inputs that matter; all of them for entries and for layers, whose arguments are fixed from outside."""
        if function.name in self.module.entries or function.name in self.bodies:
            return tuple(range(len(function.inputs)))
        count = self.uses(function)
        names = {n["name"] for n in function.graph.nodes() if n.op == "input" and n.values[0] in count}
        names |= self._measures(function, count, names)
        return tuple(i for i, (name, _) in enumerate(function.inputs) if name in names)

    def _measures(self, function: Function, count: Mapping[Value, int], names: set[str]) -> set[str]:
        """Inputs that are needed for their length alone: `position(T)` asks one of them how long T is."""
        wanted: dict[str, None] = {}
        for node in function.graph.nodes():
            if node.op in ("position", "index", "size", "expand") and node.values[0] in count:
                axes = node["axes"] if node.op == "expand" else (node["axis"],)
                wanted |= dict.fromkeys(s for a in axes for s in a.size.symbols)
        found: set[str] = set()
        for symbol in wanted:
            having = [n for n, t in function.inputs if any(symbol in a.size.symbols for a in t.axes)]
            if having and not any(n in names or n in found for n in having):
                found.add(having[0])
        return found

    def remembers(self, node: Node) -> bool:
        """Whether a callee keeps states, so that it must run even if its results are not needed."""
        waiting, seen = list(callees(node)), set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            function = self.module.functions[name]
            if function.states:
                return True
            waiting += [c for n in function.graph.nodes() for c in callees(n)]
        return False
