"""Another form of a module, derived function by function from how each primitive streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...lang import errors
from ...lang.axes import AxisError, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ..ir.graph import Graph, Node, Origin, Value
from ..ir.module import Function, Module
from ..ir.ops import OPS, build
from ..ir.primitive import Streaming
from ..ir.sources import one_per_row, sources
from . import calls, delay, history, positions, recurrence
from .body import Body, fresh
from .facts import Fact
from .forms import Derived, Form
from .refusals import context, span_of

Rule = Callable[[Body, Node], tuple[Value, ...]]


def _positionwise(body: Body, node: Node) -> tuple[Value, ...]:
    """R1: the stream is a batch axis."""
    return (body.copy(node),)


def _source(body: Body, node: Node) -> tuple[Value, ...]:
    """R1: what is read is not streamed; but the number of a slot is not the position of a token."""
    if node.op == "index" and body.streamed(node.types[0], node.types[0].names):
        name = node.types[0].axes[0].name
        advice = (f"write `position({name})`",)
        raise WeftError(errors.no_streaming_rule(span_of(node), "index", name, advice, context(body)))
    if node.op == "size" and body.streamed(TensorType((node["axis"],)), (node["axis"].name,)):
        raise WeftError(errors.depends_on_length(span_of(node), "size", node["axis"].name, context(body)))
    return (body.copy(node),)


def _reject(body: Body, node: Node) -> tuple[Value, ...]:
    """R0: fine along other axes, an error along the stream."""
    type = body.type(body.new[node.operands[0]])
    names = node["axes"] if node.op == "merge" else (node["axis"],)
    looked = body.streamed(type, names)
    if looked:
        raise WeftError(errors.no_streaming_rule(span_of(node), node.op, looked[0].name, (), context(body)))
    return (body.copy(node),)


RULES: Mapping[Streaming, Rule] = {
    Streaming.POSITIONWISE: _positionwise,
    Streaming.SOURCE: _source,
    Streaming.POSITION: positions.position,
    Streaming.RENAME: history.rename,
    Streaming.DELAY: delay.delay,
    Streaming.REDUCES: history.look,
    Streaming.REJECT: _reject,
}
CONTROL_RULES: Mapping[str, Rule] = {"call": calls.call, "repeat": calls.repeat, "scan": recurrence.scan}

Key = tuple[str, tuple[TensorType, ...], tuple[Fact, ...], bool, bool]


class Derivation:
    """The functions of one new form while they are derived, each once for the types and facts it is called with.

    `widths`: the size symbols of histories kept in rings, with their windows. `rings`: which functions keep their
    history in a ring of which window; `found` gathers those that could. `bases`: what functions were called before.
    `sources`: in forms of rows, the other sequences that come in. `one_document`: no row holds several documents.
    """

    def __init__(self, module: Module, form: Form, rings: Mapping[Key, int]) -> None:
        self.module, self.form, self.rings = module, form, rings
        self.stream = module.stream or (module.sequence, "")
        self.token_symbol = self.stream[0]
        self.history_symbol = self.stream[1]
        self.token = Size.symbol(self.token_symbol)
        self.history = Size.symbol(self.history_symbol)
        self.sources = sources(module) if form.rows else {}
        self.one_document = form.rows and one_per_row(module)
        self.widths: dict[str, int] = {}
        self.found: dict[Key, int] = {}
        self.functions: dict[str, Function] = {}
        self.bases: dict[str, str] = {}
        self._done: dict[Key, Derived] = {}

    def ring(self, width: int) -> Size:
        """The size of a history of which the last `width` - 1 tokens are kept: those and the new ones."""
        self.widths[f"{self.history_symbol}{width}"] = width
        return Size.symbol(f"{self.history_symbol}{width}")

    def past(self, width: int | None) -> Size:
        """The size of what is remembered before a step."""
        return Size.symbol("P" if width is None else f"P{width}")

    # -------------------------------------------------------------- one function

    def derive(
        self, name: str, types: tuple[TensorType, ...], facts: tuple[Fact, ...], spare: bool, within_scan: bool,
        chain: tuple[Origin, ...],
    ) -> Derived:
        """A function for inputs of the given types, of which the given facts are known."""
        key = (name, types, facts, spare, within_scan)
        if key not in self._done:
            self._done[key] = self._derive(key, chain)
        return self._done[key]

    def _derive(self, key: Key, chain: tuple[Origin, ...]) -> Derived:
        name, types, facts, spare, within_scan = key
        old = self.module.functions[name]
        width = self.rings.get(key)
        if width is not None:
            self.ring(width)
        body = Body(self, old, spare, within_scan, width, chain, needed=_ancestors(old, penalties=False))
        for (input, _), type, fact in zip(old.inputs, types, facts, strict=True):
            body.inputs.append((input, type))
            value = build(body.graph, "input", name=input, type=type)
            body.new[old.input(len(body.inputs) - 1)] = value
            body.facts[value] = fact
        live = _ancestors(old, penalties=True)
        for node in old.graph.nodes():
            if node.id in live and node.op != "input":
                body.new.update(zip(node.values, self._apply(body, node), strict=True))
        body.states += [replace(state, update=body.new[state.update]) for state in old.states]
        outputs = zip(old.graph.outputs, old.output_types, strict=True)
        body.graph.outputs = tuple(body.canonical(body.new[v], type) for v, type in outputs)
        function = replace(old, graph=body.graph, inputs=tuple(body.inputs), states=tuple(body.states))
        given = any(body.is_history(a) for type in types for a in type.axes)
        if self._could_ring(body, given):
            self.found[key] = max(w for w in body.windows if w is not None)
        return Derived(
            self._register(_swept(function)), function.output_types,
            tuple(body.fact(v) for v in body.graph.outputs), tuple(body.windows) if given else (),
        )

    def _apply(self, body: Body, node: Node) -> tuple[Value, ...]:
        rule = CONTROL_RULES.get(node.op) or RULES[OPS[node.op].stream]
        try:
            return rule(body, node)
        except AxisError as error:
            raise WeftError(errors.no_such_form(span_of(node), str(self.form), error.message, context(body))) from error

    def _could_ring(self, body: Body, given: bool) -> bool:
        """Whether all that this function remembers is only ever looked at through windows."""
        if not self.form.step or self.form.rows or not body.remembers or given or body.foreign:
            return False
        leaves = any(body.is_history(a) for v in body.graph.outputs for a in body.type(v).axes)
        return not leaves and bool(body.windows) and all(w is not None and w >= 2 for w in body.windows)

    # -------------------------------------------------------------- variants

    def conforming(self, name: str, outputs: tuple[TensorType, ...]) -> str:
        """A function whose first outputs have exactly the given axes."""
        function = self.functions[name]
        pairs = list(zip(function.output_types, outputs, strict=False))
        if all(type.axes == wanted.axes for type, wanted in pairs):
            return name
        graph = function.graph.copy()
        first = (
            value if graph.type(value).axes == wanted.axes else build(graph, "expand", value, axes=wanted.axes)
            for value, wanted in zip(graph.outputs, outputs, strict=False)
        )
        graph.outputs = (*first, *graph.outputs[len(outputs) :])
        return self._register(replace(function, graph=graph))

    def marked(self, name: str, states: int, scanned: int, how: str) -> str:
        """The body of a scan with a mark per token; see `recurrence.marked`."""
        function = self.functions[name]
        batch = Size.symbol(self.module.batch)
        axis = next(a for _, type in function.inputs[:states] for a in type.axes if a.size == batch)
        return self._register(recurrence.marked(function, states, scanned, how, axis))

    def _register(self, function: Function) -> str:
        """Keep a function under its name or, when that is taken, another one; returns the name."""
        base = self.bases.get(function.name, function.name)
        name = fresh(base, self.functions)
        self.bases[name] = base
        self.functions[name] = replace(function, name=name)
        return name


def _ancestors(function: Function, penalties: bool) -> frozenset[int]:
    """Nodes that the outputs and states depend on: all of them, or only those that are no penalties."""
    graph = function.graph
    waiting = [
        value.node
        for value, name in zip(graph.outputs, function.outputs, strict=True)
        if penalties or not name.startswith("penalty.")
    ]
    waiting += [s.update.node for s in function.states]
    found: set[int] = set()
    while waiting:
        id = waiting.pop()
        if id not in found:
            found.add(id)
            waiting += [v.node for v in graph[id].operands]
    return frozenset(found)


def _swept(function: Function) -> Function:
    """The function without nodes that neither an output nor a state needs."""
    graph: Graph = function.graph
    outputs = graph.outputs
    graph.outputs = (*outputs, *(s.update for s in function.states))
    graph.sweep()
    graph.outputs = outputs
    return function
