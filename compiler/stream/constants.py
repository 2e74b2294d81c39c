"""R8: what depends on no streamed value (an encoder, the keys of cross-attention) is computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...lang.axes import TensorType
from ...lang.sizes import Size
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module, State
from ..ir.ops import build
from ..ir.order import reachable
from .body import fresh

# What a value depends on: parameters alone, inputs that are not streamed, or the stream.
FIXED, CONSTANT, STREAMED = 0, 1, 2


def has_constants(module: Module) -> bool:
    """Whether the entry has an input that is not streamed."""
    return CONSTANT in _entry_levels(module)


def computing_constants(module: Module) -> Module:
    """The full form, in which every constant is also the new value of a state."""
    return _Split(module, keep=False).module() if has_constants(module) else module


def reading_constants(module: Module) -> Module:
    """The full form, in which constants are read from states; inputs that only they need are gone."""
    return _Split(module, keep=True).module() if has_constants(module) else module


def _entry_levels(module: Module) -> tuple[int, ...]:
    return tuple(STREAMED if _streamed(module, type) else CONSTANT for _, type in module.main.inputs)


def _streamed(module: Module, type: TensorType) -> bool:
    assert module.stream is not None
    symbols = [Size.symbol(s) for s in module.stream]
    return any(a.size in symbols for a in type.axes)


class _Split:
    """The functions of a module, each once for what its inputs depend on. `keep`: constants are read, not computed."""

    def __init__(self, old: Module, keep: bool) -> None:
        self.old, self.keep = old, keep
        self.functions: dict[str, Function] = {}
        self.done: dict[tuple[str, tuple[int, ...]], str] = {}

    def module(self) -> Module:
        entry = self.split(self.old.entry, _entry_levels(self.old))
        result = replace(self.old, functions=self.functions, entry=entry)
        return replace(result, functions={name: self.functions[name] for name in reachable(result)})

    def split(self, name: str, levels: tuple[int, ...]) -> str:
        """The name of the function for inputs that depend on these."""
        if (name, levels) not in self.done:
            made = self._make(self.old.functions[name], levels)
            made = replace(made, name=fresh(name, self.functions))
            self.functions[made.name] = made
            self.done[name, levels] = made.name
        return self.done[name, levels]

    def _make(self, old: Function, inputs: tuple[int, ...]) -> Function:
        level = self._levels(old, inputs)
        graph, new, states = Graph(), dict[Value, Value](), list[State]()
        mixed = STREAMED in inputs
        for node in old.graph.nodes():
            wanted = [v for v in node.values if level[v] == CONSTANT and mixed and _is_frontier(old, v, level)]
            computed = not self.keep or not mixed or any(level[v] != CONSTANT for v in node.values)
            if computed:
                new.update(zip(node.values, self._copy(graph, node, new, level), strict=True))
            for value in wanted:
                name = fresh(node.origin.name or node.get("name") or "constant", {s.name: s for s in states})
                type = old.graph.type(value)
                if self.keep:
                    new[value] = build(graph, "state", name=name, type=type, origin=node.origin)
                states.append(State(name, "constant", type, new[value]))
        graph.outputs = tuple(new[v] for v in old.graph.outputs)
        gone = CONSTANT if self.keep and mixed else None
        kept = tuple(pair for pair, at in zip(old.inputs, inputs, strict=True) if at != gone)
        return replace(old, graph=graph, inputs=kept, states=tuple(states))

    def _levels(self, old: Function, inputs: Sequence[int]) -> dict[Value, int]:
        level: dict[Value, int] = {}
        for node in old.graph.nodes():
            at = max((level[v] for v in node.operands), default=FIXED)
            if node.op == "input":
                at = inputs[[name for name, _ in old.inputs].index(node["name"])]
            if any(_streamed(self.old, type) for type in node.types):
                at = STREAMED
            level.update(dict.fromkeys(node.values, at))
        return level

    def _copy(self, graph: Graph, node: Node, new: dict[Value, Value], level: dict[Value, int]) -> tuple[Value, ...]:
        """The node; of a function that sees both, only what it still needs is passed."""
        attributes, levels = dict(node.attributes), tuple(level[v] for v in node.operands)
        passed = list(node.operands)
        if _descends(node, levels):
            if node.op == "repeat":
                levels = tuple(STREAMED if i < node["carried"] else at for i, at in enumerate(levels))
                attributes["bodies"] = tuple(self.split(name, levels) for name in node["bodies"])
            else:
                attributes["callee"] = self.split(node["callee"], levels)
            if self.keep:
                passed = [v for v, at in zip(node.operands, levels, strict=True) if at != CONSTANT]
        elif node.op == "call":
            attributes["callee"] = self._whole(node["callee"])
        elif node.op == "repeat":
            attributes["bodies"] = tuple(self._whole(name) for name in node["bodies"])
        elif node.op == "scan":
            attributes["body"] = self._whole(node["body"])
        return graph.add(node.op, tuple(new[v] for v in passed), node.types, node.origin, **attributes)

    def _whole(self, name: str) -> str:
        """A function that is taken as it is, its callees too."""
        return self.split(name, (FIXED,) * len(self.old.functions[name].inputs))


def _descends(node: Node, levels: tuple[int, ...]) -> bool:
    """Whether constants are kept inside the callee: in blocks, so that every layer keeps its own; not in fns."""
    if CONSTANT not in levels or STREAMED not in levels:
        return False
    return node.op == "repeat" or (node.op == "call" and node["instance"] is not None)


def _is_frontier(old: Function, value: Value, level: dict[Value, int]) -> bool:
    """Whether something streamed needs a constant here."""
    if value in old.graph.outputs:
        return True
    for user, position in old.graph.users(value):
        node = old.graph[user]
        levels = tuple(level[v] for v in node.operands)
        if STREAMED not in [level[v] for v in node.values]:
            continue
        carried = node.op == "repeat" and position < node["carried"]
        if carried or not _descends(node, levels):
            return True
    return False
