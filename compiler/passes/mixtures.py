"""Mixtures of experts in a graph: the sum of every expert's answer times its share, taken apart.

Gates and activations are known by the library's names (the rules bring what is written out there).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...lang.axes import Axis
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function, Module
from .few import at_most, never_negative
from .products import Read, reads

# How activations are called by kernels.
_PLAIN = {"weft.nn.silu": "silu", "weft.nn.relu": "relu", "weft.nn.gelu_tanh": "gelu"}
_GATES = {"weft.nn.silu": 1.0, "weft.nn.gelu_sigmoid": 1.702}


@dataclass(frozen=True)
class Gate:
    """What stands between the two maps of an expert."""

    act: str
    alpha: float = 1.0
    beta: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True)
class Linear:
    """`dot(x, weight) [+ offset]` with a weight for each expert: its contracted axis and its other one."""

    x: Value
    weight: Read
    offset: Read | None
    into: Axis
    out: Axis


@dataclass(frozen=True)
class Mixture:
    """One sum over experts: the node, what comes in, the maps (two with a gate) and what weighs the answers.

    `logits`: what the shares are the softmax of, where they are nothing else. `early`: the shares weigh what an expert
    gets; there is one at most.
    """

    node: Node
    x: Value
    share: Value
    first: tuple[Linear, ...]
    down: Linear
    gate: Gate
    expert: Axis
    top: int
    whole: bool
    logits: Value | None
    early: bool


def mixtures(module: Module, function: Function) -> Iterator[Mixture | str]:
    """Every mixture of a function, or why what looks like one is none."""
    graph, known = function.graph, reads(module, function)
    finder = _Finder(module, graph, known)
    for node in graph.nodes():
        found = finder.mixture(node)
        if found is not None:
            yield found


@dataclass(frozen=True)
class _Finder:
    module: Module
    graph: Graph
    known: Mapping[Value, Read]

    def mixture(self, node: Node) -> Mixture | str | None:
        """The mixture that ends in a node; None where there is no sum over experts at all."""
        if node.op not in ("dot", "sum") or len(node["over"]) != 1:
            return None
        (e,) = node["over"]
        for share, made in self._factors(node):
            down = self._linear(made, e)
            if down is not None:
                return self._whole(node, share, down, e)
        return None

    def _factors(self, node: Node) -> Iterator[tuple[Value | None, Value]]:
        """(what weighs, what is weighed) of a sum over experts; nothing may weigh what comes out."""
        parts = node.operands
        if node.op == "sum":
            inner = self.graph[parts[0]]
            if inner.op != "mul":
                yield None, parts[0]
                return
            parts = inner.operands
        yield parts[0], parts[1]
        yield parts[1], parts[0]

    def _whole(self, node: Node, share: Value | None, down: Linear, e: str) -> Mixture | str:
        graph, expert = self.graph, self.graph.type(down.weight.value).axis(e)
        gate = self._gate(down.x, e)
        if isinstance(gate, str):
            return gate
        kind, sides = gate
        first = [self._linear(side, e, inside=True) for side in sides]
        if any(f is None for f in first):
            return "an expert begins with something else than a map of its own"
        maps = [f for f in first if f is not None]
        if len({(f.x, f.into) for f in maps}) != 1 or any(f.out.size != down.into.size for f in maps):
            return "the two sides of a gate read different values"
        x, early = maps[0].x, share is None
        if early:
            scaled = self._scaled(x, e)
            if scaled is None:
                return "nothing weighs the experts"
            x, share = scaled
        assert share is not None
        if graph.type(x).has(e):
            return "every expert reads something else"
        if not {n for n in graph.type(share).names if n != e} <= set(graph.type(x).names) - {maps[0].into.name}:
            return "shares have axes that what comes in has not"
        top = at_most(self.module, graph, share, e)
        if top is None or (expert.size.is_constant and top >= expert.size.value):
            return f"any of the {expert.size} experts can have a share"
        if not never_negative(self.module, graph, share):
            return "a share can be negative"
        biased = any(f.offset for f in (*maps, down))
        if early and (top != 1 or biased or kind.limit):
            return "shares weigh what several experts get"
        if graph.type(node.values[0]).dtype != "real" or not all(
            a.size.is_constant for a in (expert, down.into, down.out, maps[0].into)
        ):
            return "the sizes of the experts are not fixed"
        if len({bool(f.offset) for f in maps}) != 1:
            return "only one side of a gate has an offset"
        total = self._normalised(share, e)
        logits = None if early else self._logits(total, e, top)
        return Mixture(
            node, x, share, tuple(maps), down, kind, expert, top, total is not None and not early, logits, early
        )

    def _linear(self, value: Value, e: str, inside: bool = False) -> Linear | None:
        """A map with a weight for each expert; `inside`: one that may read what all experts read."""
        node, offset = self.graph[value], None
        if node.op == "add":
            pairs = (node.operands, node.operands[::-1])
            side = next((p for p in pairs if p[1] in self.known), None)
            if side is None or set(self.graph.type(side[1]).names) > set(self.graph.type(side[0]).names):
                return None
            offset, node = self.known[side[1]], self.graph[side[0]]
        if node.op != "dot" or len(node["over"]) != 1:
            return None
        for weight, x in (node.operands, node.operands[::-1]):
            type = self.graph.type(weight)
            if weight in self.known and x not in self.known and type.has(e) and len(type.axes) == 3:
                into = type.axis(node["over"][0])
                (out,) = (a for a in type.axes if a.name not in (e, into.name))
                has = self.graph.type(x).has
                if has(out.name) or into.name == e or not (inside or has(e)):
                    continue
                if offset is not None and set(self.graph.type(offset.value).names) != {e, out.name}:
                    return None
                return Linear(x, self.known[weight], offset, into, out)
        return None

    def _gate(self, value: Value, e: str) -> tuple[Gate, tuple[Value, ...]] | str:
        """What an expert does between its maps, and what that is done to."""
        node = self.graph[value]
        if node.op == "mul":
            for side, other in (node.operands, node.operands[::-1]):
                opened = self._call(side)
                if opened is not None and opened[0] in _GATES:
                    return Gate("swiglu", _GATES[opened[0]]), (opened[1]["x"], other)
                if opened is not None and opened[0] == "weft.rules.swish" and "by" in opened[2]:
                    return Gate("swiglu", float(opened[2]["by"])), (opened[1]["x"], other)
            return "its gate is none that operators know"
        if node.op == "maximum":
            for side, other in (node.operands, node.operands[::-1]):
                if self.graph[other].op == "const" and not self.graph[other]["value"]:
                    return Gate("relu"), (side,)
        found = self._call(value)
        if found is not None:
            definition, given, statics = found
            if definition == "weft.rules.silu_mul":
                return Gate("swiglu"), (given["x"], given["y"])
            if definition == "weft.nn.clamped_swiglu" and {"limit", "alpha"} <= set(statics):
                gate = Gate("swiglu", float(statics["alpha"]), 1.0, float(statics["limit"]))
                return gate, (given["gate"], given["up"])
            if definition in _PLAIN:
                return Gate(_PLAIN[definition]), (given["x"],)
            if definition == "weft.rules.bias_gelu_tanh":
                return "the offset of an expert is taken by its activation"
            return f"`{definition}` is no activation that operators know"
        if self._linear(value, e, inside=True) is not None:
            return Gate("identity"), (value,)
        return f"`{node.op}` is no activation that operators know"

    def _call(self, value: Value) -> tuple[str, dict[str, Value], dict[str, Any]] | None:
        node = self.graph[value]
        if node.op != "call":
            return None
        callee = self.module.functions[node["callee"]]
        names = (name for name, _ in callee.inputs)
        return callee.definition, dict(zip(names, node.operands, strict=True)), dict(callee.statics)

    def _scaled(self, value: Value, e: str) -> tuple[Value, Value] | None:
        """(x, share) of `share * x`."""
        node = self.graph[value]
        if node.op == "mul":
            for x, share in (node.operands, node.operands[::-1]):
                if not self.graph.type(x).has(e) and self.graph.type(share).has(e):
                    return x, share
        return None

    # -------------------------------------------------------------- shares

    def _normalised(self, share: Value, e: str) -> Value | None:
        """w of `w / sum(w)` over experts."""
        node = self.graph[share]
        if node.op != "div":
            return None
        total = self.graph[node.operands[1]]
        same = total.op == "sum" and total["over"] == (e,) and total.operands[0] == node.operands[0]
        return node.operands[0] if same else None

    def _logits(self, weights: Value | None, e: str, top: int) -> Value | None:
        """l of `choose(best(s, top), s, 0)` with s the softmax of l over experts."""
        node = self.graph[weights] if weights is not None else None
        if node is None or node.op != "where":
            return None
        condition, scores, nothing = (self.graph[v] for v in node.operands)
        if condition.op != "top" or condition.operands != (node.operands[1],) or condition["count"] != top:
            return None
        if nothing.op != "const" or nothing["value"] or condition["over"] != e:
            return None
        if scores.op == "call":
            found = self._call(node.operands[1])
            if found is None or found[0] != "weft.moe.shares":
                return None
            return found[1]["x"]
        plain = scores.op == "softmax" and len(scores.operands) == 1 and scores["over"] == e
        return scores.operands[0] if plain else None
