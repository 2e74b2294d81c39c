"""One function while its derived form is built: its axes, what is known of its values, what it remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.graph import NOWHERE, Graph, Node, Origin, Value
from ..ir.module import Function, State
from ..ir.ops import build, constant
from . import facts as known
from .facts import NOTHING, Fact

if TYPE_CHECKING:
    from .derivation import Derivation


@dataclass(eq=False)
class Body:
    """The derived form of `old`, node by node.

    `spare`: the results are only used by penalties. `width`: the history is kept in a ring for that window.
    `windows`: for each look at a history, how far it looks back (None: to the beginning). `foreign`: a history that
    neither an input nor a rename of this function brought in. `needed`: nodes that not only penalties depend on.
    """

    derivation: Derivation
    old: Function
    spare: bool
    within_scan: bool
    width: int | None
    chain: tuple[Origin, ...]
    graph: Graph = field(default_factory=Graph)
    new: dict[Value, Value] = field(default_factory=dict)
    facts: dict[Value, Fact] = field(default_factory=dict)
    inputs: list[tuple[str, TensorType]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    windows: list[int | None] = field(default_factory=list)
    remembers: bool = False
    foreign: bool = False
    needed: frozenset[int] = frozenset()

    # -------------------------------------------------------------- values

    def type(self, value: Value) -> TensorType:
        return self.graph.type(value)

    def fact(self, value: Value) -> Fact:
        return self.facts.get(value, NOTHING)

    def know(self, value: Value, fact: Fact) -> Value:
        """Remember a fact of a value, as far as it speaks of the value's own axes."""
        names = {n: n for n in self.type(value).names}
        origin = self.facts[value].origin if value in self.facts else self.graph[value].origin
        self.facts[value] = replace(fact.renamed(names), origin=origin)
        return value

    def add(self, op: str, *operands: Value, origin: Origin = NOWHERE, **attributes: Any) -> Value:
        """Add a primitive, with what follows for its result."""
        value = build(self.graph, op, *operands, origin=origin, **attributes)
        over = attributes.get("over", ())
        given = tuple(self.fact(v) for v in operands)
        if op == "const":
            fact = known.constant(attributes["value"])
        elif op == "rename":
            before, to = attributes["axis"], attributes["to"].name
            fact = given[0].renamed({n: to if n == before else n for n in self.type(operands[0]).names})
        elif op in ("slice", "take"):  # values of the first operand, elsewhere along one axis
            fact = given[0].renamed({n: n for n in self.type(operands[0]).names if n != attributes["axis"]})
        else:
            fact = known.result_fact(op, given, over if isinstance(over, tuple) else (over,))
        return self.know(value, fact)

    def constant(self, value: bool | int | float, origin: Origin = NOWHERE) -> Value:
        made = constant(self.graph, value, origin)
        return self.know(made, known.constant(value))

    def zero(self, dtype: str, origin: Origin = NOWHERE) -> Value:
        return self.constant({"real": 0.0, "int": 0, "bool": False}[dtype], origin)

    def ordered(self, value: Value, axes: tuple[Axis, ...], origin: Origin = NOWHERE) -> Value:
        """The value with exactly these axes: transposed, and repeated along those it lacks."""
        return value if self.type(value).axes == axes else self.add("expand", value, origin=origin, axes=axes)

    # -------------------------------------------------------------- axes

    def is_token(self, axis: Axis) -> bool:
        """Whether an axis counts the tokens of this step (or of the whole sequence)."""
        return axis.size == self.derivation.token

    def is_history(self, axis: Axis) -> bool:
        """Whether an axis counts the tokens that are remembered, these included."""
        return axis.size == self.derivation.history or str(axis.size) in self.derivation.widths

    def is_source(self, axis: Axis) -> bool:
        """Whether rows differ along an axis that is not the stream: another sequence that comes in (`sources.py`)."""
        return str(axis.size) in self.derivation.sources

    def streamed(self, type: TensorType, names: Iterable[str]) -> tuple[Axis, ...]:
        """The axes among `names` along which the form matters: those of tokens, of history, of other sequences."""
        axes = (type.axis(n) for n in names if type.has(n))
        return tuple(a for a in axes if self.is_token(a) or self.is_history(a) or self.is_source(a))

    def batch(self) -> Axis:
        """The batch axis under its name in this function."""
        size = Size.symbol(self.derivation.module.batch)
        taken: dict[str, Axis] = {}
        for _, type in self.inputs:
            for axis in type.axes:
                if axis.size == size:
                    return axis
        for node in self.old.graph.nodes():
            for type in node.types:
                for axis in type.axes:
                    if axis.size == size:
                        return axis
                    taken.setdefault(axis.name, axis)
        return Axis(fresh(self.derivation.module.batch, taken), size)

    def ring(self) -> Size | None:
        """The size of the history when it is kept in a ring, here or by a caller."""
        if self.width is not None:
            return self.derivation.ring(self.width)
        sizes = (a.size for _, type in self.inputs for a in type.axes)
        return next((s for s in sizes if str(s) in self.derivation.widths), None)

    def retyped(self, attribute: Any) -> Any:
        """An attribute with the sizes of this form: in a ring, the history has a size of its own."""
        ring = self.ring()
        if ring is None:
            return attribute
        if isinstance(attribute, Axis):
            return replace(attribute, size=attribute.size.substitute({self.derivation.history_symbol: ring}))
        if isinstance(attribute, TensorType):
            return attribute.with_axes(tuple(self.retyped(a) for a in attribute.axes))
        if isinstance(attribute, tuple):
            return tuple(self.retyped(a) for a in attribute)
        return attribute

    # -------------------------------------------------------------- nodes

    def is_spare(self, node: Node) -> bool:
        """Whether only penalties depend on a node of the old function."""
        return self.spare or node.id not in self.needed

    def copy(self, node: Node, *operands: Value) -> Value:
        """The same primitive on the new operands, which may have axes more."""
        attributes = {k: self.retyped(v) for k, v in node.attributes}
        operands = operands or tuple(self.new[v] for v in node.operands)
        if node.op == "expand":
            wanted = {a.name for a in attributes["axes"]}
            extra = self._extra(operands[0], self.old.graph.type(node.operands[0]))
            attributes["axes"] = (*(a for a in extra if a.name not in wanted), *attributes["axes"])
        elif node.op in ("concat", "stack"):
            operands = self._alike(operands, attributes["axis"] if node.op == "concat" else None)
        return self.add(node.op, *operands, origin=node.origin, **attributes)

    def _extra(self, value: Value, before: TensorType) -> tuple[Axis, ...]:
        """The axes that a value has gained."""
        return tuple(a for a in self.type(value).axes if not before.has(a.name))

    def _alike(self, values: tuple[Value, ...], axis: str | None) -> tuple[Value, ...]:
        """Values that are to be joined along `axis`, with all other axes the same."""
        gained: dict[str, Axis] = {}
        for value in values:
            for a in self.type(value).axes:
                gained.setdefault(a.name, a)
        first = self.type(values[0])
        order = [*(n for n in gained if not first.has(n)), *first.names]
        return tuple(
            self.ordered(v, tuple(self.type(v).axis(n) if n == axis else gained[n] for n in order)) for v in values
        )

    def canonical(self, value: Value, before: TensorType) -> Value:
        """A value in the order it had before, axes it gained first."""
        kept = [self.type(value).axis(n) for n in before.names if self.type(value).has(n)]
        return self.ordered(value, (*self._extra(value, before), *kept))

    # -------------------------------------------------------------- states

    def state_name(self, node: Node, default: str) -> str:
        """What the spec calls the value, else `default`; unique in this function."""
        return fresh(node.origin.name or default, {s.name: s for s in (*self.old.states, *self.states)})


def fresh(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name_2`, `name_3`, ... when it is taken."""
    used, count, result = set(taken), 1, name
    while result in used:
        count += 1
        result = f"{name}_{count}"
    return result
