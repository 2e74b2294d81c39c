"""Reads a compiled model as a drawing: the calls of its functions, as boxes within boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...lang.axes import TensorType
from ..ir.graph import Node, Value
from ..ir.instances import find
from ..ir.module import Function, Instance, Layers, Module, Path, Reference, State, count_parameters, join
from ..ir.needs import needs
from ..quantities import axes, count, spelled
from ..schedule import Run, fold
from ..stream import step
from .facts import counted, instance_facts, kind, place, remembered, state_facts, types
from .operations import SIGNS, SILENT, title
from .picture import Drawing, End, Item, Kind, Link

_LONGEST = 30  # characters of several operations in one item
_MAKERS = {"delay": "shift", "carry": "scan"}  # which operation a state comes from; the others come from `rename`
_MANY_RUNS = 8  # a schedule in more pieces is drawn as its different layers


def states_of(module: Module) -> tuple[tuple[Path, State], ...]:
    """What the decoder of a model remembers, by path of call sites; nothing when it has no stream.

    Raises WeftError when the model has a stream but no decoder (it sees the future).
    """
    if module.stream is None:
        return ()
    decoder = step(module)
    return needs(decoder)[decoder.entry].states


def scene(module: Module, states: Sequence[tuple[Path, State]]) -> Drawing:
    """The drawing of a whole model. `states` are what its decoder remembers, by path of call sites."""
    body = _Body(_Reader(module, states), (), ())
    inputs: list[End | None] = []
    for name, type in module.main.inputs:
        inputs.append(body.put(Item(f"input {name}", Kind.INPUT, name, facts=(("input", spelled(type)),))))
    ends = body.read(module.main, inputs)
    for end, type, name in zip(ends, module.main.output_types, module.main.outputs, strict=True):
        if end is not None:
            body.put(Item(f"output {name}", Kind.OUTPUT, "output", facts=(("output", spelled(type)),)), [(end, type)])
    return body.drawing(0, 0)


class _Reader:
    """What all parts of one scene share: the module, its states, and what was drawn already.

    `drawn` are the paths of instances. `above` are methods whose inside stands in an earlier layer of the same repeat.
    """

    def __init__(self, module: Module, states: Sequence[tuple[Path, State]]) -> None:
        self.module, self.states = module, states
        self.drawn: set[Path] = set()
        self.above: set[str] = set()

    def below(self, site: Path) -> list[State]:
        """The states of all functions called at or below a place."""
        return [state for path, state in self.states if path[: len(site)] == site]

    def at(self, site: Path) -> list[State]:
        """The states of the function called at a place itself."""
        return [state for path, state in self.states if path == site]

    def opens(self, function: Function) -> bool:
        """Whether the inside of a method is worth drawing: it runs other instances, scans, or contracts twice."""
        dots = 0
        for node in function.graph.nodes():
            dots += node.op == "dot"
            if node.op in ("repeat", "scan") or dots > 1:
                return True
            if node.op == "call" and node["instance"] is not None:
                callee = self.module.functions[node["callee"]]
                if node["instance"] != Reference() or self.opens(callee):
                    return True
        return False

    def is_identity(self, function: Function) -> bool:
        """Whether a function gives back its only input."""
        if len(function.inputs) != 1 or len(function.graph.outputs) != 1:
            return False
        node = function.graph[function.graph.outputs[0]]
        while node.op == "call" and self.is_identity(self.module.functions[node["callee"]]):
            node = function.graph[node.operands[0]]
        return node.op == "input"


@dataclass
class _Body:
    """One function while its drawing is made, on the instance at `path`, called at `site`."""

    reader: _Reader
    path: Path
    site: Path
    stack: tuple[str, ...] = ()
    items: dict[str, Item] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def drawing(self, inputs: int, outputs: int) -> Drawing:
        return Drawing(tuple(self.items.values()), tuple(self.links), inputs, outputs)

    def put(self, item: Item, operands: Sequence[tuple[End, TensorType]] = ()) -> End:
        """Add an item; its key gets a number when another item has it."""
        key, number = item.key, 1
        while key in self.items:
            number += 1
            key = f"{item.key}.{number}"
        self.items[key] = replace(item, key=key)
        self.links += [Link(end, End(key, port), type) for port, (end, type) in enumerate(operands)]
        return End(key)

    def finish(self, function: Function, ends: Sequence[End | None]) -> int:
        """Link the values of a function (not its penalties) to the lower edge; gives how many there are."""
        values = [end for end, name in zip(ends, function.outputs, strict=True) if not name.startswith("penalty.")]
        for i, end in enumerate(values):
            if end is not None:
                self.links.append(Link(end, End("", i), function.output_types[i]))
        return len(values)

    def read(self, function: Function, inputs: Sequence[End | None]) -> list[End | None]:
        """Add what a function does; None stands for a value that is not drawn (a constant, a position, a penalty)."""
        return _Function(self, function).read(inputs)


class _Function:
    """One pass over the nodes of a function: which end of which item is which value."""

    def __init__(self, body: _Body, function: Function) -> None:
        self.body, self.function, self.graph = body, function, function.graph
        self.reader, self.module = body.reader, body.reader.module
        self.ends: dict[Value, End | None] = {}
        self.memory: dict[str, list[State]] = defaultdict(list)
        for state in self.reader.at(body.site):
            self.memory[_MAKERS.get(state.kind, "rename")].append(state)

    def read(self, inputs: Sequence[End | None]) -> list[End | None]:
        names = [name for name, _ in self.function.inputs]
        for node in self.graph.nodes():
            if node.op == "input":
                self.ends[Value(node.id)] = inputs[names.index(node["name"])]
            else:
                self._node(node)
        ends = [self.ends[v] for v in self.graph.outputs]
        for i, name in enumerate(self.function.outputs):
            end = ends[i]
            if name.startswith("penalty.") and end is not None:
                span = self.function.origin.first_span()
                item = Item(f"{join(self.body.site)} {name}", Kind.PENALTY, name.replace(".", " "), used=span)
                self.body.put(item, [(end, self.function.output_types[i])])
                ends[i] = None
        return ends

    def _node(self, node: Node) -> None:
        shown = self._operands(node)
        self.ends |= dict.fromkeys(node.values)
        if node.op == "call":
            self._call(node, shown)
        elif node.op == "repeat":
            self._repeat(node, shown)
        elif node.op == "scan":
            self._scan(node, shown)
        elif not shown:
            return
        elif node.op == "rename":
            self._rename(node, shown)
        elif node.op in SILENT:
            self.ends[Value(node.id)] = shown[0][0]
        else:
            self._operation(node, shown)

    def _operands(self, node: Node) -> list[tuple[End, TensorType]]:
        return [(end, self.graph.type(v)) for v in node.operands if (end := self.ends[v]) is not None]

    def _key(self, name: str) -> str:
        return join((*self.body.site, name))

    # ------------------------------------------------------------ calls

    def _call(self, node: Node, shown: list[tuple[End, TensorType]]) -> None:
        callee = self.module.functions[node["callee"]]
        reference: Reference | None = node["instance"]
        if shown and self.reader.is_identity(callee):
            self.ends[Value(node.id)] = shown[0][0]
        elif reference == Reference():
            inner = replace(self.body, site=(*self.body.site, node["site"]))
            for value, end in zip(node.values, inner.read(callee, [self.ends[v] for v in node.operands]), strict=True):
                self.ends[value] = end
        elif reference is not None:
            self._instance(node, callee, reference.resolve(self.body.path), shown)
        elif shown or node.types[0].axes:
            name = callee.definition.rsplit(".", 1)[-1] or callee.name
            statics = tuple((k, _short(v)) for k, v in callee.statics)
            states = state_facts(self.reader.below((*self.body.site, node["site"])))
            item = Item(
                self._key(node["site"]),
                Kind.FUNCTION,
                name,
                "" if shown else ", ".join(f"{k} = {v}" for k, v in statics),
                facts=(("function", callee.definition or callee.name), *statics, *types(callee), *states),
                used=node.origin.first_span(),
                defined=callee.origin.first_span(),
            )
            self._results(node, callee, self.body.put(item, shown))

    def _results(self, node: Node, callee: Function, end: End) -> None:
        """The results of an item; those that nothing reaches inside of it are constants, which are not drawn."""
        inner = self.body.items[end.item].inner
        reached = {link.target.port for link in inner.links if not link.target.item} if inner else None
        for i, name in enumerate(callee.outputs):
            if not name.startswith("penalty.") and (reached is None or i in reached):
                self.ends[Value(node.id, i)] = replace(end, port=i)

    def _instance(self, node: Node, callee: Function, path: Path, shown: list[tuple[End, TensorType]]) -> None:
        instance = find(self.module, path)
        assert isinstance(instance, Instance)
        site = (*self.body.site, node["site"])
        again = path in self.reader.drawn
        self.reader.drawn.add(path)
        name = str(path[-1]) if callee.method == "forward" else f"{path[-1]}.{callee.method}"
        facts = instance_facts(self.module, callee, path, self.reader.below(site))
        words = counted(instance)
        copies = [a for a in instance.stack if a.name not in self.body.stack]
        note = " ".join((instance.block, *(f"× {a.size}" for a in copies)))
        item = Item(
            join(site), kind(instance, callee), name, note, "shared weights" if again and words else words,
            facts, node.origin.first_span(), callee.origin.first_span(), remembers=bool(self.reader.below(site)),
        )  # fmt: skip
        if self.reader.opens(callee) and callee.name in self.reader.above:
            item = replace(item, kind=Kind.PLAIN, note=f"{note} as above")
        elif not again and self.reader.opens(callee):
            inner = self._inside(node, callee, path, site, (*self.body.stack, *(a.name for a in copies)))
            item = replace(item, kind=Kind.STACK if copies else Kind.BOX, inner=inner)
        self._results(node, callee, self.body.put(item, shown))

    def _inside(self, node: Node, callee: Function, path: Path, site: Path, stack: tuple[str, ...]) -> Drawing:
        """The drawing of a callee: its ports are the operands and results that are drawn."""
        body = _Body(self.reader, path, site, stack)
        inputs: list[End | None] = []
        for v in node.operands:
            inputs.append(None if self.ends[v] is None else End("", sum(e is not None for e in inputs)))
        outputs = body.finish(callee, body.read(callee, inputs))
        return body.drawing(sum(e is not None for e in inputs), outputs)

    # ------------------------------------------------------------ repeat

    def _repeat(self, node: Node, shown: list[tuple[End, TensorType]]) -> None:
        path = node["instance"].resolve(self.body.path)
        layers = find(self.module, path)
        assert isinstance(layers, Layers)
        runs = fold(node["schedule"])
        if len(runs) > _MANY_RUNS:
            order = node["schedule"]
            runs = tuple(Run(order.count(b), order.index(b), b) for b in dict.fromkeys(order))
        outer, self.reader.above = self.reader.above, set(self.reader.above)
        number = len(node["schedule"])
        note = f"× {number} layers" if number > 1 else "1 layer"
        facts = (("place", place(path)), ("layers", f"{number:,}"), ("parameters", counted(layers)))
        if len(runs) == 1 and runs[0].body is not None:
            inside = self._run(node, layers, runs[0], path, set())
            item = replace(inside, facts=(*facts, *inside.facts))
        else:
            chain = self._chain(node, layers, runs, path, set())
            item = Item("", Kind.LAYERS, "", "", counted(layers), facts, inner=chain)
        self.reader.above = outer
        item = replace(item, key=self._key(node["site"]), kind=Kind.LAYERS, title=node["site"], note=note)
        end = self.body.put(replace(item, used=node.origin.first_span()), shown)
        for i in range(node["carried"]):
            self.ends[Value(node.id, i)] = replace(end, port=i)

    def _run(self, node: Node, layers: Layers, run: Run, path: Path, known: set[int]) -> Item:
        """The item for a run of equal layers, or of a pattern of layers."""
        key = join((*self.body.site, node["site"], run.first))
        note = f"× {run.count}" if run.count > 1 else ""
        total = sum(count_parameters(layers.bodies[b]) for b in layers.schedule[run.first : run.first + run.layers])
        words = f"{run.count} × {count(total / run.count)} = {count(total)}" if run.count > 1 else count(total)
        words = words if total else ""
        if run.body is None:
            inner = self._chain(node, layers, run.pattern, path, known)
            return Item(key, Kind.LAYERS, run.name, note, words, inner=inner)
        callee = self.module.functions[node["bodies"][run.body]]
        here, site = (*path, run.first), (*self.body.site, node["site"], run.first)
        facts = instance_facts(self.module, callee, here, self.reader.below(site))
        kind = Kind.LAYERS if run.count > 1 else Kind.BOX
        item = Item(key, kind, run.name, note, words, facts, defined=callee.origin.first_span())
        if run.body in known:
            return replace(item, kind=Kind.PLAIN, note=f"{note} as above".strip())
        known.add(run.body)
        return replace(item, inner=self._inside(node, callee, here, site, self.body.stack))

    def _chain(self, node: Node, layers: Layers, runs: Sequence[Run], path: Path, known: set[int]) -> Drawing:
        """Runs one after another: carried values pass through all of them, the others go to each."""
        body = _Body(self.reader, path, self.body.site)
        visible = [i for i, v in enumerate(node.operands) if self.ends[v] is not None]
        ends: dict[int, End] = {i: End("", port) for port, i in enumerate(visible)}
        for run in runs:
            item = self._run(node, layers, run, path, known)
            end = body.put(item, [(ends[i], self.graph.type(node.operands[i])) for i in visible])
            ends |= {i: replace(end, port=i) for i in range(node["carried"])}
            self.reader.above |= {c for b in known for c in self._called(node["bodies"][b])}
        body.links += [Link(ends[i], End("", i), node.types[i]) for i in range(node["carried"])]
        return body.drawing(len(visible), node["carried"])

    def _called(self, name: str) -> list[str]:
        """The methods that a function runs on instances of its own."""
        nodes = self.module.functions[name].graph.nodes()
        return [node["callee"] for node in nodes if node.op == "call" and node["instance"] is not None]

    # ------------------------------------------------------------ operations

    def _scan(self, node: Node, shown: list[tuple[End, TensorType]]) -> None:
        states = self.memory["scan"]
        body, axis = self.module.functions[node["body"]], node["axis"].name
        facts = (("scan", f"along {axis}"), *types(body), *state_facts(states))
        carried = ", ".join(axes(type) for _, type in body.inputs[: node["states"]])
        span = node.origin.first_span()
        item = Item(self._key(f"scan %{node.id}"), Kind.SCAN, f"scan {axis}", "", f"carries {carried}", facts, span)
        end = self.body.put(item, shown)
        self.ends |= {value: replace(end, port=i) for i, value in enumerate(node.values)}

    def _rename(self, node: Node, shown: list[tuple[End, TensorType]]) -> None:
        """What is renamed is remembered, if the decoder has a state for it; else it is the same value."""
        states = self.memory["rename"]
        state = next((s for s in states if s.type.names == node.types[0].names), None)
        if state is None:
            self.ends[Value(node.id)] = shown[0][0]
            return
        states.remove(state)
        facts = (*state_facts([state]), ("renamed", f"{node['axis']} → {node['to'].name}"))
        span = node.origin.first_span()
        item = Item(self._key(state.name), Kind.STATE, state.name, "", remembered(state), facts, span)
        self.ends[Value(node.id)] = self.body.put(item, shown)

    def _operation(self, node: Node, shown: list[tuple[End, TensorType]]) -> None:
        ends = {end for end, _ in shown}
        text = title(node, self.graph, [self.ends[v] is not None for v in node.operands])
        facts = (("operation", node.op), ("out", spelled(node.types[0])))
        item = Item(self._key(f"%{node.id}"), Kind.OPERATION, text, facts=facts, used=node.origin.first_span())
        if node.op in SIGNS and len(ends) == 2:
            item = replace(item, kind=Kind.OPERATOR, title=SIGNS[node.op])
        elif node.op in ("shift", "delays") and self.memory["shift"]:
            item = replace(item, facts=(*facts, *state_facts([self.memory["shift"].pop(0)])))
        before = self._before(node, ends)
        if before is not None and item.kind is Kind.OPERATION and len(before.title) + len(text) + 3 <= _LONGEST:
            joined = replace(before, title=f"{before.title} · {text}", facts=(*before.facts, *facts))
            self.body.items[before.key] = joined
            self.ends[Value(node.id)] = End(before.key)
            return
        self.ends[Value(node.id)] = self.body.put(item, shown)

    def _before(self, node: Node, ends: set[End]) -> Item | None:
        """The operation right before, when nothing else uses its result."""
        if len(ends) != 1:
            return None
        (end,) = ends
        used = [v for v in node.operands if self.ends[v] == end]
        item = self.body.items.get(end.item)
        alone = len(self.graph.users(used[0])) == 1 and used[0] not in self.graph.outputs
        return item if item is not None and item.kind is Kind.OPERATION and alone else None


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
