"""Linear attention in the body of a scan: sums and products taken apart, whatever their order and their names."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Node, Value
from ..ir.module import Function
from ..ir.ops import OPS

# What belongs to its place in a body.
_BOUND = ("param", "state", "ambient", "dropout", "expand")


@dataclass(frozen=True)
class Match:
    """What the body of a scan does; values are those of the body, each list the factors of a product."""

    node: Node
    body: Function
    q: tuple[Value, ...]
    k: tuple[Value, ...]
    v: tuple[Value, ...]
    keep: tuple[Value, ...]
    rate: tuple[Value, ...] | None
    mark: Value | None
    scale: float


def match_scan(function: Function, node: Node, body: Function) -> Match | str:
    """What a scan of a function does as linear attention, or why it is none."""
    if node["states"] != 1 or len(node.types) != 2:
        return "it remembers more than one value"
    outer = [function.graph.type(v) for v in node.operands]
    axis = node["axis"].name
    for (_, type), given in zip(body.inputs, outer, strict=True):
        if type.names != tuple(n for n in given.names if n != axis):
            return "its body has axes of other names"
    return _Body(node, body).match()


class _Body:
    """The body of one scan, seen as sums and products."""

    def __init__(self, node: Node, body: Function) -> None:
        self.node, self.body, self.graph = node, body, body.graph
        self.state = body.input(0)
        self._depends: dict[int, bool] = {}

    def match(self) -> Match | str:
        last, out = (self.peel(v) for v in self.graph.outputs)
        mark, now = None, last
        node = self.graph[last]
        if node.op == "where" and self.peel(node.operands[2]) == self.state:
            mark, now = node.operands[0], self.peel(node.operands[1])
            if self.depends(mark) or not self._lifts(mark):
                return "what is held back depends on the state"
        read = self._read(out, now)
        if isinstance(read, str):
            return read
        scale, q, key = read
        terms = self.terms(now)
        kept = next((t for t in terms if self.state in self.factors(t)), None)
        others = [t for t in terms if t != kept]
        if kept is None or len(others) != 1:
            return "its state is not what was kept of it and something new"
        keep = [f for f in self.factors(kept) if f != self.state]
        new = self.factors(others[0])
        if any(self.depends(f) for f in keep) or len(keep) + 1 != len(self.factors(kept)):
            return "what is kept of its state depends on the state"
        correction = [f for f in new if self.depends(f)]
        rate: tuple[Value, ...] | None = None
        v: tuple[Value, ...]
        if correction:
            found = self._delta(correction, new, kept if keep else self.state, key)
            if isinstance(found, str):
                return found
            k, v, rate = found
        else:
            k = tuple(f for f in new if self.has(f, key))
            v = tuple(f for f in new if not self.has(f, key))
        match = Match(self.node, self.body, (q,), k, v, tuple(keep), rate, mark, scale)
        return self._shaped(match, key) or match

    def _read(self, out: Value, now: Value) -> tuple[float, Value, str] | str:
        """(scale, q, the axis of the keys) of `scale * dot(q, S)`."""
        scale, rest = 1.0, []
        for factor in self.factors(out):
            node = self.graph[factor]
            if node.op == "const":
                scale *= float(node["value"])
            else:
                rest.append(node)
        if len(rest) != 1 or rest[0].op != "dot" or len(rest[0]["over"]) != 1:
            return "what it yields is no product with its state"
        sides = [self.peel(v) for v in rest[0].operands]
        if now not in sides:
            return "what it yields is no product with its new state"
        sides.remove(now)
        if self.depends(sides[0]):
            return "what its state is multiplied with depends on the state"
        return scale, sides[0], rest[0]["over"][0]

    def _delta(
        self, correction: list[Value], new: list[Value], kept: Value, key: str
    ) -> tuple[tuple[Value, ...], tuple[Value, ...], tuple[Value, ...]] | str:
        """(k, v, rate) of `k rate (v - dot(k, S'))`."""
        node = self.graph[correction[0]]
        if len(correction) != 1 or node.op != "sub":
            return "what is new in its state is no delta rule"
        v, said = (self.peel(o) for o in node.operands)
        dot = self.graph[said]
        if dot.op != "dot" or dot["over"] != (key,) or self.depends(v):
            return "what is new in its state is no delta rule"
        sides = [self.peel(o) for o in dot.operands]
        if kept not in sides:
            return "its delta rule asks another state than the one that is kept"
        sides.remove(kept)
        k = sides[0]
        if k not in new or self.depends(k):
            return "its delta rule asks with another key than it writes with"
        rate = [f for f in new if f not in (k, correction[0])]
        if any(self.has(f, key) for f in rate):
            return "its rate has the axis of the keys"
        return (k,), (v,), tuple(rate)

    def _shaped(self, match: Match, key: str) -> str:
        """What the axes have against a matrix of keys and values for each head, or ""."""
        state = self.graph.type(self.state)
        if not match.k or not match.v or not state.has(key):
            return "what is new in its state is no product of a key and a value"
        heads = {n for f in (*match.q, *match.k, *match.keep, *(match.rate or ())) for n in self.graph.type(f).names}
        if not heads | self._names(match.v) <= set(state.names):
            return "queries, keys or values have axes that its state has not"
        if any(not self._lifts(f) for f in (*match.q, *match.k, *match.v, *match.keep, *(match.rate or ()))):
            return "what goes into its state is computed by a function, inside of the loop"
        values = [n for n in state.names if n not in heads]
        if not values:
            return "each head holds a vector, for which a scan is faster"
        if any(self.has(f, key) for f in match.v) or not all(n in self._names(match.v) for n in values):
            return "what is new in its state is no product of a key and a value"
        if not all(a.size.is_constant for a in state.axes if a.name == key or a.name in values):
            return "the sizes of keys and values are not fixed"
        return ""

    def _lifts(self, value: Value) -> bool:
        """Whether a value can be computed for all tokens at once: by operations that do not care how many there are."""
        node = self.graph[value]
        return node.op == "input" or (
            node.op in OPS and node.op not in _BOUND and all(self._lifts(v) for v in node.operands)
        )

    def _names(self, factors: tuple[Value, ...]) -> set[str]:
        return {n for f in factors for n in self.graph.type(f).names}

    def has(self, value: Value, axis: str) -> bool:
        return self.graph.type(value).has(axis)

    def peel(self, value: Value) -> Value:
        """A value without what only orders its axes."""
        while self.graph[value].op == "expand":
            value = self.graph[value].operands[0]
        return value

    def terms(self, value: Value) -> list[Value]:
        node = self.graph[self.peel(value)]
        return [t for v in node.operands for t in self.terms(v)] if node.op == "add" else [node.values[0]]

    def factors(self, value: Value) -> list[Value]:
        node = self.graph[self.peel(value)]
        return [f for v in node.operands for f in self.factors(v)] if node.op == "mul" else [node.values[0]]

    def depends(self, value: Value) -> bool:
        """Whether a value depends on the state."""
        if value.node not in self._depends:
            self._depends[value.node] = value == self.state or any(
                self.depends(v) for v in self.graph[value].operands
            )
        return self._depends[value.node]
