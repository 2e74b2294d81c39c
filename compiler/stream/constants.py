"""R8: what depends on no streamed value (an encoder, the keys of cross-attention) is computed once and kept.

    before   decoder(x, memory) = x + mix(q(x), k(memory), v(memory))
    after    encode(memory):    keys, values = k(memory), v(memory)
             decoder(x) = x + mix(q(x), keys, values)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...lang.axes import TensorType
from ...lang.sizes import Size
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module, State
from ..ir.needs import callees
from ..ir.ops import build
from ..ir.order import reachable
from ..ir.sources import source_ambients
from .body import fresh

# What a value depends on: parameters (and where padding is) alone, inputs that are not streamed, or the stream.
FIXED, CONSTANT, STREAMED = 0, 1, 2
ENCODE = "encode"

Levels = tuple[int, ...]


def split_constants(module: Module, bases: dict[str, str], symbols: Sequence[str]) -> Module:
    """A step in two parts: its encoder computes the states of kind constant, its entry reads them.

    The inputs that are not streamed go to the encoder alone. `symbols` are the sizes that count tokens. `bases` names
    what functions were called before their form was derived; it learns the new ones.
    """
    split = _Split(module, bases, frozenset(symbols))
    levels = split.entry_levels()
    if CONSTANT not in levels:
        return module
    encoder = split.encoder(module.entry, levels)
    entry = split.step(module.entry, levels)
    result = replace(module, functions=split.functions, entry=entry, encoder=encoder)
    return replace(result, functions={name: split.functions[name] for name in reachable(result)})


def encoding(module: Module) -> Module | None:
    """The encoder of a step module as a module of its own, whose states are what it computes; None without one.

    It is a program in full form. In forms of rows its ambient values are those of the sequences it takes.
    """
    if not module.encoder:
        return None
    form = "full+rows" if "rows" in module.form else "full"
    inputs = dict(module.functions[module.encoder].inputs)
    defaults = tuple(pair for pair in module.defaults if pair[0] in inputs)
    alone = replace(
        module, entry=module.encoder, encoder="", form=form, stream=None, sequence="", defaults=defaults
    )
    return replace(alone, functions={name: module.functions[name] for name in reachable(alone)})


class _Split:
    """The functions of a derived step, for what their inputs depend on: as they are, as encoders, and as steps."""

    def __init__(self, old: Module, bases: dict[str, str], symbols: frozenset[str]) -> None:
        self.old, self.bases, self.symbols = old, bases, symbols
        self.own = frozenset(source_ambients(old))
        self.functions: dict[str, Function] = {}
        self._done: dict[tuple[str, str, Levels], str] = {}

    # -------------------------------------------------------------- functions

    def entry_levels(self) -> Levels:
        return tuple(STREAMED if self._streamed(type) else CONSTANT for _, type in self.old.main.inputs)

    def whole(self, name: str) -> str:
        """A function that is taken as it is, and all that it runs."""
        if name not in self.functions:
            self.functions[name] = function = self.old.functions[name]
            for node in function.graph.nodes():
                for callee in callees(node):
                    self.whole(callee)
            for state in function.states:
                if isinstance(state.initial, str):
                    self.whole(state.initial)
        return name

    def step(self, name: str, inputs: Levels) -> str:
        """The function without what is constant: that is read from states."""
        key = ("step", name, inputs)
        if key not in self._done:
            self._done[key] = self._register(self._step(self.old.functions[name], inputs), name, "")
        return self._done[key]

    def encoder(self, name: str, inputs: Levels) -> str:
        """What of the function is constant, as states."""
        key = (ENCODE, name, inputs)
        if key not in self._done:
            self._done[key] = self._register(self._encoder(self.old.functions[name], inputs), name, ENCODE)
        return self._done[key]

    def _keeps(self, name: str) -> bool:
        """Whether an encoder has anything to keep, itself or in what it runs."""
        function = self.functions[name]
        return bool(function.states) or any(callees(n) and not n.types for n in function.graph.nodes())

    def _register(self, made: Function, old: str, method: str) -> str:
        base = self.bases.get(old, old)
        base = f"{base.rpartition('.')[0] or base}.{method}" if method else base
        name = fresh(base, (*self.functions, *self.old.functions))
        self.bases[name] = base
        self.functions[name] = replace(made, name=name)
        return name

    # -------------------------------------------------------------- one function

    def _step(self, old: Function, inputs: Levels) -> Function:
        level = self._levels(old, inputs)
        graph, new = Graph(), dict[Value, Value]()
        kept = dict(self._kept(old, level))
        states: list[State] = []
        for node in old.graph.nodes():
            for value in node.values:
                if value in kept:
                    new[value] = build(graph, "state", name=kept[value], type=old.graph.type(value), origin=node.origin)
                    states.append(State(kept[value], "constant", old.graph.type(value), new[value]))
            if all(level[v] != CONSTANT for v in node.values):
                new.update(zip(node.values, self._again(graph, node, new, level), strict=True))
        graph.outputs = tuple(new[v] for v in old.graph.outputs)
        states += [replace(s, update=new[s.update]) for s in old.states]
        left = tuple(pair for pair, at in zip(old.inputs, inputs, strict=True) if at != CONSTANT)
        return _swept(replace(old, graph=graph, inputs=left, states=tuple(states)))

    def _again(self, graph: Graph, node: Node, new: dict[Value, Value], level: dict[Value, int]) -> tuple[Value, ...]:
        """A node of the step; a function that sees constants, too, is passed only what it still needs."""
        attributes, passed = dict(node.attributes), node.operands
        levels = _inner_levels(node, level)
        if _descends(node, levels):
            if node.op == "repeat":
                attributes["bodies"] = tuple(self.step(name, levels) for name in node["bodies"])
            else:
                attributes["callee"] = self.step(node["callee"], levels)
            passed = tuple(v for v, at in zip(passed, levels, strict=True) if at != CONSTANT)
        else:
            for callee in callees(node):
                self.whole(callee)
        return graph.add(node.op, tuple(new[v] for v in passed), node.types, node.origin, **attributes)

    def _encoder(self, old: Function, inputs: Levels) -> Function:
        level = self._levels(old, inputs)
        graph, new, states = Graph(), dict[Value, Value](), list[State]()
        kept = self._kept(old, level)
        for node in old.graph.nodes():
            levels = _inner_levels(node, level)
            if node.values and level[node.values[0]] != STREAMED:
                for callee in callees(node):
                    self.whole(callee)
                operands = tuple(new[v] for v in node.operands)
                found = graph.add(node.op, operands, node.types, node.origin, **dict(node.attributes))
                new.update(zip(node.values, found, strict=True))
            elif _descends(node, levels):
                self._descend(graph, node, levels, new)
        for value, name in kept:
            states.append(State(name, "constant", old.graph.type(value), new[value]))
        left = tuple(pair for pair, at in zip(old.inputs, inputs, strict=True) if at != STREAMED)
        made = replace(old, graph=graph, inputs=left, outputs=(), states=tuple(states), method=ENCODE, definition="")
        return _swept(made)

    def _descend(self, graph: Graph, node: Node, levels: Levels, new: dict[Value, Value]) -> None:
        """A call for what its callee keeps, which gives no results."""
        attributes = dict(node.attributes)
        bodies = [self.encoder(name, levels) for name in callees(node)]
        if not any(self._keeps(name) for name in bodies):
            return
        operands = tuple(new[v] for v, at in zip(node.operands, levels, strict=True) if at != STREAMED)
        if node.op == "repeat":
            bodies = [self.encoder(name, levels) for name in node["bodies"]]
            attributes |= {"bodies": tuple(bodies), "carried": 0, "sums": 0}
        else:
            attributes["callee"] = bodies[0]
        graph.add(node.op, operands, (), node.origin, **attributes)

    # -------------------------------------------------------------- levels

    def _levels(self, old: Function, inputs: Levels) -> dict[Value, int]:
        level: dict[Value, int] = {}
        names = [name for name, _ in old.inputs]
        for node in old.graph.nodes():
            at = max((level[v] for v in node.operands), default=FIXED)
            if node.op == "input":
                at = inputs[names.index(node["name"])]
            if node.op == "state" or (node.op == "ambient" and node["name"] not in self.own):
                at = STREAMED
            if any(self._streamed(type) for type in node.types) or self._runs_streamed(node):
                at = STREAMED
            level.update(dict.fromkeys(node.values, at))
        return level

    def _streamed(self, type: TensorType) -> bool:
        return any(s in self.symbols for a in type.axes for s in a.size.symbols)

    def _runs_streamed(self, node: Node) -> bool:
        """Whether a function that a node runs knows of tokens without being told (it asks where they stand)."""
        for callee in callees(node):
            for inner in self.old.functions[callee].graph.nodes():
                told = inner.op == "ambient" and inner["name"] not in self.own
                if told or inner.op == "state" or self._runs_streamed(inner):
                    return True
        return False

    def _kept(self, old: Function, level: dict[Value, int]) -> tuple[tuple[Value, str], ...]:
        """The constants that something streamed needs here, and the names of their states."""
        found: dict[Value, str] = {}
        for node in old.graph.nodes():
            for value in node.values:
                if level[value] == CONSTANT and _is_frontier(old, value, level):
                    wanted = node.origin.name or node.get("name") or "constant"
                    found[value] = fresh(wanted, (*found.values(), *(s.name for s in old.states)))
        return tuple(found.items())


def _inner_levels(node: Node, level: dict[Value, int]) -> Levels:
    """The levels of a callee's inputs; what goes from layer to layer is streamed where anything is."""
    levels = tuple(level[v] for v in node.operands)
    if node.op == "repeat" and STREAMED in levels:
        return tuple(STREAMED if i < node["carried"] else at for i, at in enumerate(levels))
    return levels


def _descends(node: Node, levels: Levels) -> bool:
    """Whether constants are kept inside the callee: in blocks, so that every layer keeps its own; not in fns."""
    if CONSTANT not in levels or STREAMED not in levels:
        return False
    return node.op == "repeat" or (node.op == "call" and node["instance"] is not None)


def _is_frontier(old: Function, value: Value, level: dict[Value, int]) -> bool:
    """Whether something streamed needs a constant here."""
    if value in old.graph.outputs or any(s.update == value for s in old.states):
        return True
    for user, position in old.graph.users(value):
        node = old.graph[user]
        if not node.values or level[node.values[0]] != STREAMED:
            continue
        levels = _inner_levels(node, level)
        if not _descends(node, levels) or levels[position] == STREAMED:
            return True
    return False


def _swept(function: Function) -> Function:
    """The function without what nothing needs; what only the other part needs is no input."""
    graph, outputs = function.graph, function.graph.outputs
    graph.outputs = (*outputs, *(s.update for s in function.states))
    graph.sweep()
    graph.outputs = outputs
    return function


def token_symbols(module: Module, rings: Sequence[str]) -> tuple[str, ...]:
    """The size symbols of a step that count tokens: new ones, remembered ones, and those of rings."""
    assert module.stream is not None
    past = [str(Size.symbol("P")), *(f"P{r.removeprefix(module.stream[1])}" for r in rings)]
    return (*module.stream, *rings, *past)
