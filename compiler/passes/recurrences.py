"""Recurrences: a scan that keeps a matrix of keys and values becomes one call of `linear_attend`.

Linear attention, retention, state spaces with one rate per head and (gated) delta rules are one recurrence. S is a
matrix [K, U] for each head:

    S' = keep S                                      keep: one number for each head, for each of its keys, or none
    S  = S' + k v                                    or, with a rate,   S' + k rate (v - k S')
    y  = scale q S

Whatever a scan's body is called and however it writes this, products of what does not depend on S are computed for all
tokens at once, outside, and what is left is the call. Where the state is held back for tokens that are padding, the
call is told which those are.

    linear_attend(s, q, k, v[, decay or keep][, rate][, mark]) -> (value, state)

decay is the logarithm of what is kept. statics: `scale`, `positive` (what is kept can not be negative).

Before:

    module Demo (form=full, entry=Demo.forward, batch=B, sequence=T)

    instance Demo

    function Demo.scan(s: [B, K:3, U:2], k: [B, K:3], v: [B, U:2], q: [B, K:3]) -> (next.s: [B, K:3, U:2], yield.0: [B, U:2]) {
      block Demo
      method scan
      %4 = const(value=0.5): []
      %5 = mul(%4, %s): [B, K:3, U:2]
      %6 = mul(%k, %v): [B, K:3, U:2]
      %7 = add(%5, %6): [B, K:3, U:2]
      %8 = dot(%q, %7, over=(K,)): [B, U:2]
      return %7, %8
    }

    function Demo.forward(q: [B, T, K:3], k: [B, T, K:3], v: [B, T, U:2]) -> (value: [B, T, U:2]) {
      block Demo
      %3 = const(value=0.0): []
      %4 = expand(%3, axes=(<B>, <K:3>, <U:2>)): [B, K:3, U:2]
      %5 = scan(%4, %k, %v, %q, axis=<T>, body=Demo.scan, scanned=3, states=1): ([B, T, U:2], [B, K:3, U:2])
      return %5.0
    }

After:

    module Demo (form=full, entry=Demo.forward, batch=B, sequence=T)

    instance Demo

    function Demo.scan(s: [B, K:3, U:2], k: [B, K:3], v: [B, U:2], q: [B, K:3]) -> (next.s: [B, K:3, U:2], yield.0: [B, U:2]) {
      block Demo
      method scan
      %4 = const(value=0.5): []
      %5 = mul(%4, %s): [B, K:3, U:2]
      %6 = mul(%k, %v): [B, K:3, U:2]
      %7 = add(%5, %6): [B, K:3, U:2]
      %8 = dot(%q, %7, over=(K,)): [B, U:2]
      return %7, %8
    }

    function linear_attend.step(s: [B, K:3, U:2], q: [B, K:3], k: [B, K:3], v: [B, U:2], keep: []) -> (next: [B, K:3, U:2], value: [B, U:2]) {
      method linear_attend.step
      %5 = mul(%keep, %s): [B, K:3, U:2]
      %6 = mul(%k, %v): [B, K:3, U:2]
      %7 = add(%5, %6): [B, K:3, U:2]
      %8 = dot(%q, %7, over=(K,)): [B, U:2]
      return %7, %8
    }

    function linear_attend(s: [B, K:3, U:2], q: [B, T, K:3], k: [B, T, K:3], v: [B, T, U:2], keep: []) -> (value: [B, T, U:2], state: [B, K:3, U:2]) {
      method linear_attend
      definition weft.kernels.linear_attend
      static scale = 1.0
      static positive = true
      %5 = scan(%s, %q, %k, %v, %keep, axis=<T>, body=linear_attend.step, scanned=3, states=1): ([B, T, U:2], [B, K:3, U:2])
      return %5.0, %5.1
    }

    function Demo.forward(q: [B, T, K:3], k: [B, T, K:3], v: [B, T, U:2]) -> (value: [B, T, U:2]) {
      block Demo
      %3 = const(value=0.0): []
      %4 = expand(%3, axes=(<B>, <K:3>, <U:2>)): [B, K:3, U:2]
      %5 = const(value=0.5): []
      %6 = call(%4, %q, %k, %v, %5, callee=linear_attend, instance=none, site=linear_attend): ([B, T, U:2], [B, K:3, U:2])
      return %6.0
    }
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

from ...lang.axes import Axis, TensorType
from ..ir.control import call
from ..ir.control import scan as scan_node
from ..ir.equality import install
from ..ir.graph import Graph, Origin, Value
from ..ir.module import Function, Module
from ..ir.ops import build, constant
from ..ir.splice import free_site
from .editing import closed, opened
from .few import never_negative
from .linear_scan import Match, match_scan

LINEAR_ATTEND = "weft.kernels.linear_attend"


@dataclass(frozen=True)
class Recurrences:
    """Put scans that are linear attention into functions that kernels stand for."""

    name: str = "recurrences"

    def run(self, module: Module) -> Module:
        functions = dict(module.functions)
        for name, function in module.functions.items():
            found = [m for m in _found(module, function) if isinstance(m, Match)]
            if found:
                functions[name] = _outlined(module, functions, function, found)
        return replace(module, functions=functions)

    def refusals(self, module: Module) -> list[str]:
        """Why scans stay as they are, one line for each reason."""
        found = []
        for name, function in module.functions.items():
            found += [f"`{name}`: {m}" for m in _found(module, function) if isinstance(m, str)]
        return list(dict.fromkeys(found))


def _found(module: Module, function: Function) -> Iterator[Match | str]:
    for node in function.graph.nodes() if function.definition != LINEAR_ATTEND else ():
        if node.op == "scan":
            yield match_scan(function, node, module.functions[node["body"]])


# ------------------------------------------------------------------ putting the call in


def _outlined(module: Module, functions: dict[str, Function], function: Function, found: list[Match]) -> Function:
    graph = opened(function)
    sites = {n["site"] for n in graph.nodes() if n.op in ("call", "repeat")}
    for match in found:
        origin = Origin(None, "recurrences", (match.node.origin,), match.node.origin.name)
        lifted = _lifted(graph, match, origin)
        inputs: dict[str, Value] = {"s": match.node.operands[0]}
        for name, factors in (("q", match.q), ("k", match.k), ("v", match.v), ("keep", match.keep)):
            if factors:
                inputs[name] = _product(graph, [lifted[f] for f in factors], origin)
        positive = True
        if "keep" in inputs:
            node = graph[inputs["keep"]]
            if node.op == "exp":
                inputs["decay"] = node.operands[0]
                del inputs["keep"]
            else:
                positive = _positive(module, function, graph, inputs["keep"])
        if match.rate is not None:
            rate = [lifted[f] for f in match.rate]
            inputs["rate"] = _product(graph, rate, origin) if rate else constant(graph, 1.0, origin)
        if match.mark is not None:
            inputs["mark"] = lifted[match.mark]
        types = tuple(match.node.types)
        body = _callee(functions, match, {n: graph.type(v) for n, v in inputs.items()}, types, positive)
        site = free_site("linear_attend", sites)
        sites.add(site)
        results = call(graph, body, tuple(inputs.values()), types, site, None, origin)
        for before, after in zip(match.node.values, results, strict=True):
            graph.replace(before, after)
    return closed(function, graph)


def _lifted(graph: Graph, match: Match, origin: Origin) -> dict[Value, Value]:
    """The factors of a body for all tokens at once."""
    inner = match.body.graph
    known = {match.body.input(i): operand for i, operand in enumerate(match.node.operands)}

    def lift(value: Value) -> Value:
        if value not in known:
            here = inner[value]
            operands = [lift(v) for v in here.operands]
            known[value] = build(graph, here.op, *operands, origin=origin, **dict(here.attributes))
        return known[value]

    marks = (match.mark,) if match.mark is not None else ()
    return {v: lift(v) for v in (*match.q, *match.k, *match.v, *match.keep, *(match.rate or ()), *marks)}


def _product(graph: Graph, factors: list[Value], origin: Origin) -> Value:
    return reduce(lambda a, b: build(graph, "mul", a, b, origin=origin), factors)


def _positive(module: Module, function: Function, graph: Graph, value: Value) -> bool:
    """Whether a value is never negative, wherever the function is called."""
    node = graph[value]
    if node.op != "input":
        return never_negative(module, graph, value)
    at = [name for name, _ in function.inputs].index(node["name"])
    calls = [
        (caller, n) for caller in module.functions.values() for n in caller.graph.nodes()
        if n.op == "call" and n["callee"] == function.name
    ]
    return bool(calls) and all(never_negative(module, c.graph, n.operands[at]) for c, n in calls)


def _callee(
    functions: dict[str, Function], match: Match, inputs: dict[str, TensorType], types: tuple[TensorType, ...],
    positive: bool,
) -> str:
    """The function that stands for the scan: one step of the recurrence, for one token after another."""
    axis: Axis = match.node["axis"]
    key = _key(match, inputs)
    names = ["s", *(n for n, t in inputs.items() if n != "s" and t.has(axis.name))]
    names += [n for n in inputs if n not in names]
    scanned = sum(t.has(axis.name) for n, t in inputs.items() if n != "s")
    step, wanted = Graph(), types[0].without(axis.name)
    inner = {n: build(step, "input", name=n, type=inputs[n].without(*_there(inputs[n], axis))) for n in names}
    s = kept = inner["s"]
    if "decay" in inner:
        kept = build(step, "mul", build(step, "exp", inner["decay"]), s)
    elif "keep" in inner:
        kept = build(step, "mul", inner["keep"], s)
    v = inner["v"]
    if "rate" in inner:
        v = build(step, "mul", inner["rate"], build(step, "sub", v, build(step, "dot", inner["k"], kept, over=(key,))))
    now = build(step, "add", kept, build(step, "mul", inner["k"], v))
    y = build(step, "dot", inner["q"], now, over=(key,))
    if match.scale != 1:
        y = build(step, "mul", y, constant(step, match.scale))
    if "mark" in inner:
        now = build(step, "where", inner["mark"], now, s)
    step.outputs = (_ordered(step, now, inputs["s"]), _ordered(step, y, wanted))
    once = Function(
        "linear_attend.step", step, tuple((n, step.type(v)) for n, v in inner.items()), ("next", "value"), "",
        "linear_attend.step",
    )
    body = install(functions, once)
    graph = Graph()
    given = {n: build(graph, "input", name=n, type=t) for n, t in inputs.items()}
    operands = [given[n] for n in names[1:]]
    y, state = scan_node(
        graph, body, axis, (given["s"],), tuple(operands[:scanned]), tuple(operands[scanned:]), (inputs["s"], wanted)
    )
    graph.outputs = (_ordered(graph, y, types[0]), state)
    whole = Function(
        "linear_attend", graph, tuple(inputs.items()), ("value", "state"), "", "linear_attend", LINEAR_ATTEND,
        (("scale", match.scale), ("positive", positive)), origin=match.node.origin,
    )
    return install(functions, whole)


def _there(type: TensorType, axis: Axis) -> tuple[str, ...]:
    return (axis.name,) if type.has(axis.name) else ()


def _key(match: Match, inputs: dict[str, TensorType]) -> str:
    """The axis of the keys: the state has it and what is read has not."""
    (key,) = (n for n in inputs["s"].names if not match.node.types[0].has(n))
    return key


def _ordered(graph: Graph, value: Value, wanted: TensorType) -> Value:
    return value if graph.type(value).axes == wanted.axes else build(graph, "expand", value, axes=wanted.axes)


@dataclass(frozen=True)
class Roles:
    """What the axes of a state are: those of the batch, of heads, the one of keys, those of values."""

    lead: tuple[str, ...]
    heads: tuple[str, ...]
    key: str
    values: tuple[str, ...]

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """[batch, heads, keys, values]: how operators keep it."""
        return (self.lead, self.heads, (self.key,), self.values)


def roles(function: Function) -> Roles:
    """The roles of the axes of the state of a `linear_attend`, in its own names."""
    types = dict(function.inputs)
    out, s = function.output_types[0], types["s"]
    (key,) = (n for n in s.names if not out.has(n))
    (token,) = (n for n in out.names if not s.has(n))
    lead = out.names[: out.index(token)]
    heads = {n for name in ("q", "k", "decay", "keep", "rate") if name in types for n in types[name].names}
    inner = [n for n in s.names if n != key and n not in lead]
    return Roles(
        tuple(n for n in lead if s.has(n)), tuple(n for n in inner if n in heads), key,
        tuple(n for n in inner if n not in heads),
    )
