"""Experts: a mixture in which few experts have a share becomes one call, with the weights of all experts side by side.

A spec says what a mixture is: every expert's answer times its share, summed. Where it can be proved that at most `top`
shares are other than zero and none is negative, a kernel may compute those experts alone. The nodes of the mixture then
move into a function of their own, with the matrices of all experts as two weights:

    mix_experts(x, share, up, [up_offset,] down[, down_offset]) -> value

    x [.., D], share [.., E], up [E, N, D], down [E, D, F]; N is F, or 2 F where a gate and what it opens take turns.
    statics: `top`; `act` (swiglu, silu, relu, gelu, identity); `alpha`, `beta` and `limit` of swiglu, which is
    g sigmoid(alpha g) (u + beta) with both sides clamped to `limit` (0: not at all); `whole` (shares add up to 1).

`route_experts` has the router's logits in the place of shares: their softmax, the best `top` of it, brought to a sum of
1. The weights may be codes and scales (`experts_grouped`); then the body computes with what they stand for.

What a mixture has that this form has not keeps it as it is, and `refusals` says what that is.

Before:

    module Demo (form=full, entry=Demo.forward, sequence=B)

    instance Demo {
      param route: [D:4, E:3] = normal(std=0.02)
      param up: [E:3, D:4, F:6] = normal(std=0.02)
      param down: [E:3, F:6, D:4] = normal(std=0.02)
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = param(name=route): [D:4, E:3]
      %2 = dot(%x, %1, over=(D,)): [B, E:3]
      %3 = softmax(%2, over=E): [B, E:3]
      %4 = top(%3, count=1, over=E): bool[B, E:3]
      %5 = const(value=0.0): []
      %6 = where(%4, %3, %5): [B, E:3]
      %7 = param(name=up): [E:3, D:4, F:6]
      %8 = dot(%x, %7, over=(D,)): [B, E:3, F:6]
      %9 = maximum(%8, %5): [B, E:3, F:6]
      %10 = param(name=down): [E:3, F:6, D:4]
      %11 = dot(%9, %10, over=(F,)): [B, E:3, D:4]
      %12 = dot(%6, %11, over=(E,)): [B, D:4]
      return %12
    }

After:

    module Demo (form=full, entry=Demo.forward, sequence=B)

    instance Demo {
      param route: [D:4, E:3] = normal(std=0.02)
      param up: [E:3, D:4, F:6] = normal(std=0.02)
      param down: [E:3, F:6, D:4] = normal(std=0.02)
      param up_experts: [E:3, N:6, D:4] = zeros() from joined(parts=(stored(instance=@, name=up, dimensions=((0,), (2,), (), (1,))),), axis=2)
      param down_experts: [E:3, Out:4, F:6] = zeros() from joined(parts=(stored(instance=@, name=down, dimensions=((0,), (2,), (), (1,))),), axis=2)
    }

    function mix_experts(x: [B, D_:4], share: [B, E:3], up: [E:3, N:6, D_:4], down: [E:3, Out:4, F:6]) -> (value: [B, D:4]) {
      method mix_experts
      definition weft.kernels.mix_experts
      static top = 1
      static act = relu
      static alpha = 1.0
      static beta = 0.0
      static limit = 0.0
      static whole = false
      %4 = dot(%x, %up, over=(D_,)): [B, E:3, N:6]
      %5 = rename(%4, axis=N, to=<F:6>): [B, E:3, F:6]
      %6 = const(value=0.0): []
      %7 = maximum(%5, %6): [B, E:3, F:6]
      %8 = dot(%7, %down, over=(F,)): [B, E:3, Out:4]
      %9 = dot(%share, %8, over=(E,)): [B, Out:4]
      %10 = rename(%9, axis=Out, to=<D:4>): [B, D:4]
      return %10
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = param(name=route): [D:4, E:3]
      %2 = dot(%x, %1, over=(D,)): [B, E:3]
      %3 = softmax(%2, over=E): [B, E:3]
      %4 = top(%3, count=1, over=E): bool[B, E:3]
      %5 = const(value=0.0): []
      %6 = where(%4, %3, %5): [B, E:3]
      %7 = param(name=up_experts): [E:3, N:6, D:4]
      %8 = param(name=down_experts): [E:3, Out:4, F:6]
      %9 = call(%x, %6, %7, %8, callee=mix_experts, instance=none, site=mix_experts): [B, D:4]
      return %9
    }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.control import call
from ..ir.equality import install
from ..ir.graph import Graph, Origin, Value
from ..ir.module import Function, Init, Module, Parameter, Path
from ..ir.ops import build, constant
from ..ir.source import Joined, Quantized, Source, Stored
from ..ir.splice import free_site, fresh
from ..quantization.scheme import Grouped
from .choices import Choice, chosen
from .editing import closed, opened
from .mixtures import Gate, Linear, Mixture, mixtures
from .new_parameters import free_name, with_parameters
from .products import Read, instances_of

MIX_EXPERTS = "weft.kernels.mix_experts"
ROUTE_EXPERTS = "weft.kernels.route_experts"
MIX_GROUPED = "weft.quantized.mix_experts"
ROUTE_GROUPED = "weft.quantized.route_experts"

# Axes of a weight in groups, as `Stored` wants them.
Groups = tuple[tuple[Axis, ...], ...]


@dataclass(frozen=True)
class Experts:
    """Put mixtures of experts into functions that kernels stand for.

    `choices` say which weights become codes; where they want codes and there are no operators for them (`grouped`),
    a mixture stays as it is.
    """

    choices: tuple[Choice, ...] = ()
    grouped: bool = True
    name: str = "experts"

    def run(self, module: Module) -> Module:
        functions, added = dict(module.functions), dict[str, tuple[Parameter, ...]]()
        for name, paths in instances_of(module).items():
            function = module.functions[name]
            found = [m for m in mixtures(module, function) if isinstance(m, Mixture)]
            change = _Change(module, functions, function, paths, self)
            done = [change.put(mixture) for mixture in found]
            if any(done):
                functions[name] = closed(function, change.graph)
                added[name] = tuple(change.added.values())
        return with_parameters(replace(module, functions=functions), added)

    def refusals(self, module: Module) -> list[str]:
        """Why mixtures stay as they are, one line for each reason."""
        found = []
        for name in instances_of(module):
            for mixture in mixtures(module, module.functions[name]):
                found += [f"`{name}`: {mixture}"] if isinstance(mixture, str) else []
        return list(dict.fromkeys(found))


# ------------------------------------------------------------------ putting the call in


class _Change:
    """One function whose mixtures are being replaced."""

    def __init__(
        self, module: Module, functions: dict[str, Function], function: Function, paths: tuple[Path, ...],
        wanted: Experts,
    ) -> None:
        self.module, self.functions, self.function, self.paths, self.wanted = module, functions, function, paths, wanted
        self.graph = opened(function)
        self.sites = {n["site"] for n in self.graph.nodes() if n.op in ("call", "repeat")}
        self.added: dict[str, Parameter] = {}
        self.bases: set[str] = set()

    def put(self, mixture: Mixture) -> bool:
        """Replace a mixture by a call; whether that was done."""
        choice = self._choice(mixture)
        scheme = choice.scheme if choice is not None else None
        if scheme is not None and not (isinstance(scheme, Grouped) and self.wanted.grouped):
            return False
        if isinstance(scheme, Grouped):
            widths = (mixture.first[0].into.size.value, mixture.down.into.size.value)
            exact = scheme.bits == 8 and choice is not None and choice.activations == 32  # which no kernel computes
            scheme = scheme if all(w % scheme.group == 0 for w in widths) and not exact else None
        origin = Origin(None, "experts", (mixture.node.origin,), mixture.node.origin.name)
        graph, result = self.graph, mixture.node.values[0]
        x, share = mixture.x, mixture.share
        if mixture.early:
            x, share = self._late(mixture, origin)
        inputs: list[tuple[str, TensorType, Value]] = [("x", graph.type(x), x)]
        if mixture.logits is not None:
            inputs.append(("logits", graph.type(mixture.logits), mixture.logits))
        else:
            inputs.append(("share", graph.type(share), share))
        for name, parameter in self._weights(mixture, scheme, origin):
            value = build(graph, "param", origin=origin, name=parameter.name, type=parameter.type)
            inputs.append((name, parameter.type, value))
        body = _body(mixture, scheme, choice, [(n, t) for n, t, _ in inputs], graph.type(result))
        name = install(self.functions, body)
        site = free_site(body.method, self.sites)
        self.sites.add(site)
        (y,) = call(graph, name, tuple(v for _, _, v in inputs), (graph.type(result),), site, None, origin)
        graph.replace(result, y)
        return True

    def _late(self, mixture: Mixture, origin: Origin) -> tuple[Value, Value]:
        """The one expert that has a share gets x times it, and what it says counts once."""
        graph, e = self.graph, mixture.expert.name
        total = build(graph, "sum", mixture.share, origin=origin, over=(e,))
        x = build(graph, "mul", mixture.x, total, origin=origin)
        nothing = constant(graph, 0.0, origin)
        chosen = build(graph, "gt", mixture.share, nothing, origin=origin)
        return x, build(graph, "cast", chosen, origin=origin, dtype="real")

    def _choice(self, mixture: Mixture) -> Choice | None:
        """What all maps of the experts are stored in."""
        weights = [f.weight for f in (*mixture.first, mixture.down)]
        found = {chosen(self.wanted.choices, w.path(path)) for w in weights for path in self.paths}
        choice = found.pop() if len(found) == 1 else ""
        return None if isinstance(choice, str) else choice

    # -------------------------------------------------------------- weights

    def _weights(
        self, mixture: Mixture, scheme: Grouped | None, origin: Origin
    ) -> Iterator[tuple[str, Parameter]]:
        e, first, down = mixture.expert, mixture.first, mixture.down
        for side, maps in (("up", first), ("down", (down,))):
            named = "_".join(_called(m.weight) for m in maps)
            base = free_name(self.module, self.function.name, f"{named}_experts", self.bases)
            self.bases.add(base)
            width = Size.of(len(maps) * maps[0].out.size.value)
            rows = Axis("N" if side == "up" else "Out", width)
            columns = Axis("D" if side == "up" else "F", maps[0].into.size)
            expert = Axis("E", e.size)
            if scheme is None:
                source = self._joined(maps, lambda m: ((e,), (m.out,), (), (m.into,)), 2)
                yield side, self._add(base, TensorType((expert, rows, columns)), source, origin)
            else:
                matrix = self._joined(maps, lambda m: ((m.into,), (e, m.out), ()), 2)
                yield from self._codes(side, base, scheme, matrix, (expert, rows, columns), origin)
            if maps[0].offset is not None:
                parts = tuple(
                    self._stored(m.offset, ((e,), (m.out,), ())) for m in maps if m.offset is not None
                )
                source = Joined(parts, 2)
                yield f"{side}_offset", self._add(f"{base}_offset", TensorType((expert, rows)), source, origin)

    def _codes(
        self, side: str, base: str, scheme: Grouped, matrix: Source, axes: tuple[Axis, Axis, Axis], origin: Origin
    ) -> Iterator[tuple[str, Parameter]]:
        expert, rows, columns = axes
        j, m = Axis("J", Size.of(columns.size.value // scheme.group)), Axis("M", Size.of(scheme.group))
        types = {"codes": TensorType((expert, rows, j, m), "int"), "scales": TensorType((expert, rows, j))}
        if not scheme.symmetric:
            types["zeros"] = TensorType((expert, rows, j), "int")
        for part, type in types.items():
            yield f"{side}_{part}", self._add(f"{base}_{part}", type, Quantized(matrix, scheme, part), origin)

    def _add(self, name: str, type: TensorType, source: Source, origin: Origin) -> Parameter:
        self.added[name] = Parameter(name, type, Init("zeros"), origin, source)
        return self.added[name]

    def _joined(self, maps: Sequence[Linear], groups: Callable[[Linear], Groups], axis: int) -> Source:
        """The matrices of one or two maps, whose columns take turns."""
        return Joined(tuple(self._stored(m.weight, groups(m)) for m in maps), axis)

    def _stored(self, read: Read, groups: Groups) -> Stored:
        type = self.graph.type(read.value)
        return Stored(read.instance, read.name, tuple(tuple(type.index(a.name) for a in g) for g in groups))


def _called(read: Read) -> str:
    """`gate` for the weight of an instance of that name, `mlp_a` for its parameter `a`."""
    return "_".join((*read.instance.down[-1:], *(() if read.instance.down and read.name == "weight" else (read.name,))))


# ------------------------------------------------------------------ what the call stands for


def _body(
    mixture: Mixture, scheme: Grouped | None, choice: Choice | None, inputs: list[tuple[str, TensorType]],
    result: TensorType,
) -> Function:
    """Every expert's answer times its share, summed."""
    graph, taken = Graph(), {n for _, t in inputs[:2] for n in t.names} | set(result.names)
    e, into = mixture.expert, mixture.first[0].into
    lead = [a.name for a in dict(inputs)["x"].axes if a.name != into.name]
    names = {"E": e.name} | {plain: fresh(plain, taken) for plain in ("D", "N", "F", "Out", "J", "M")}
    d, f, n = Axis(names["D"], into.size), Axis(names["F"], mixture.down.into.size), names["N"]
    values: dict[str, Value] = {}
    typed: list[tuple[str, TensorType]] = []
    for at, (name, type) in enumerate(inputs):
        renamed = names if at > 1 else {into.name: d.name} if at == 0 else {}
        type = type.with_axes(tuple(Axis(renamed.get(a.name, a.name), a.size) for a in type.axes))
        typed.append((name, type))
        values[name] = build(graph, "input", name=name, type=type)
    share = values["share"] if "share" in values else _shares(graph, values["logits"], e, mixture.top)
    up = _weight(graph, values, "up", scheme, d)
    y = _mapped(graph, values, values["x"], up, "up", d)
    if mixture.gate.act == "swiglu":
        pair = Axis(fresh("P", taken | {f.name, n}), Size.of(2))
        y = build(graph, "split", y, axis=n, into=(f, pair))
        sides = [build(graph, "select", y, axis=pair.name, at=at) for at in (0, 1)]
    else:
        sides = [build(graph, "rename", y, axis=n, to=f)]
    hidden = _opened(graph, mixture.gate, sides)
    down = _weight(graph, values, "down", scheme, f)
    y = _mapped(graph, values, hidden, down, "down", f)
    y = build(graph, "dot", share, y, over=(e.name,))
    (wanted,) = (a for a in result.axes if a.name not in lead)
    y = build(graph, "rename", y, axis=names["Out"], to=wanted)
    if graph.type(y).axes != result.axes:
        y = build(graph, "expand", y, axes=result.axes)
    graph.outputs = (y,)
    routed = mixture.logits is not None
    gate = mixture.gate
    statics: tuple[tuple[str, object], ...] = (
        ("top", mixture.top), ("act", gate.act), ("alpha", gate.alpha), ("beta", gate.beta), ("limit", gate.limit),
        ("whole", mixture.whole),
    )
    if scheme is None:
        definition = ROUTE_EXPERTS if routed else MIX_EXPERTS
    else:
        definition = ROUTE_GROUPED if routed else MIX_GROUPED
        assert choice is not None
        statics = (*statics, ("bits", scheme.bits), ("group", scheme.group), ("activations", choice.activations))
    method = definition.rpartition(".")[2]
    return Function(method, graph, tuple(typed), ("value",), "", method, definition, statics)


def _shares(graph: Graph, logits: Value, expert: Axis, top: int) -> Value:
    scores = build(graph, "softmax", logits, over=expert.name)
    best = build(graph, "top", scores, over=expert.name, count=top)
    kept = build(graph, "where", best, scores, constant(graph, 0.0))
    return build(graph, "div", kept, build(graph, "sum", kept, over=(expert.name,)))


def _weight(graph: Graph, values: dict[str, Value], side: str, scheme: Grouped | None, into: Axis) -> Value:
    """The matrices [E, columns, contracted], from codes and scales where they are given so."""
    if scheme is None:
        return values[side]
    codes = values[f"{side}_codes"]
    zero = values.get(f"{side}_zeros")
    codes = build(graph, "sub", codes, zero if zero is not None else constant(graph, scheme.middle))
    weight = build(graph, "mul", build(graph, "cast", codes, dtype="real"), values[f"{side}_scales"])
    groups = graph.type(weight).names[-2:]
    return build(graph, "merge", weight, axes=groups, into=into)


def _mapped(graph: Graph, values: dict[str, Value], x: Value, weight: Value, side: str, over: Axis) -> Value:
    y = build(graph, "dot", x, weight, over=(over.name,))
    offset = values.get(f"{side}_offset")
    return y if offset is None else build(graph, "add", y, offset)


def _opened(graph: Graph, gate: Gate, sides: list[Value]) -> Value:
    """The activation of an expert."""
    x = sides[0]
    if gate.act == "swiglu":
        other = sides[1]
        if gate.limit:
            x = build(graph, "minimum", x, constant(graph, gate.limit))
            other = build(graph, "maximum", other, constant(graph, -gate.limit))
            other = build(graph, "minimum", other, constant(graph, gate.limit))
        if gate.beta:
            other = build(graph, "add", other, constant(graph, gate.beta))
        steep = x if gate.alpha == 1 else build(graph, "mul", x, constant(graph, gate.alpha))
        return build(graph, "mul", build(graph, "mul", x, build(graph, "sigmoid", steep)), other)
    if gate.act == "silu":
        return build(graph, "mul", x, build(graph, "sigmoid", x))
    if gate.act == "relu":
        return build(graph, "maximum", x, constant(graph, 0.0))
    if gate.act == "gelu":
        cube = build(graph, "mul", build(graph, "pow", x, constant(graph, 3.0)), constant(graph, 0.044715))
        inner = build(graph, "mul", build(graph, "add", x, cube), constant(graph, math.sqrt(2 / math.pi)))
        half = build(graph, "mul", x, constant(graph, 0.5))
        return build(graph, "mul", half, build(graph, "add", build(graph, "tanh", inner), constant(graph, 1.0)))
    return x
