"""A function's body: typed nodes over a networkx MultiDiGraph, hash-consed and in a deterministic order.

Only this file imports networkx. `Node.operands` is the truth; the edges mirror it, keyed by operand position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import networkx as nx

from ...lang.axes import TensorType
from ...lang.source import Span


@dataclass(frozen=True)
class Origin:
    """Where a node came from: a span of the spec, or the rule or pass that made it and what it replaced.

    `name` is what the spec calls its value (`keys = ..`), "" when it has no name there.
    """

    span: Span | None = None
    maker: str = ""
    parents: tuple[Origin, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        if self.maker:
            return f"{self.maker}({', '.join(map(str, self.parents))})" if self.parents else self.maker
        return str(self.span) if self.span else "?"

    def first_span(self) -> Span | None:
        """The span to show a person: the node's own, else the first one found among its parents."""
        if self.span:
            return self.span
        return next((s for p in self.parents if (s := p.first_span())), None)


NOWHERE = Origin()


@dataclass(frozen=True, order=True)
class Value:
    """Result `index` of node `node`: the only handle that passes hold."""

    node: int
    index: int = 0


@dataclass(frozen=True)
class Node:
    """One operation: its name, operands, attributes (hashable values only), result types and origin."""

    id: int
    op: str
    operands: tuple[Value, ...]
    attributes: tuple[tuple[str, Any], ...]
    types: tuple[TensorType, ...]
    origin: Origin = field(default=NOWHERE, compare=False)

    def __getitem__(self, name: str) -> Any:
        for key, value in self.attributes:
            if key == name:
                return value
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return next((v for k, v in self.attributes if k == name), default)

    @property
    def values(self) -> tuple[Value, ...]:
        return tuple(Value(self.id, i) for i in range(len(self.types)))


class Graph:
    """Nodes and outputs of one function. Mutable while it is built; passes copy before they change it."""

    def __init__(self) -> None:
        self.nx = nx.MultiDiGraph()
        self.outputs: tuple[Value, ...] = ()
        self._next = 0
        self._known: dict[Any, int] = {}
        self._order: list[int] | None = None  # the ids in order, until the graph changes

    def copy(self) -> Graph:
        other = Graph()
        other.nx = self.nx.copy()
        other.outputs, other._next, other._known = self.outputs, self._next, dict(self._known)
        other._order = None if self._order is None else list(self._order)
        return other

    def add(
        self,
        op: str,
        operands: tuple[Value, ...],
        types: tuple[TensorType, ...],
        origin: Origin = NOWHERE,
        **attributes: Any,
    ) -> tuple[Value, ...]:
        """Add a node, or find the equal one that is already here; returns all its results."""
        attrs = tuple(sorted(attributes.items()))
        key = (op, operands, attrs, types)
        if key in self._known:
            return self[self._known[key]].values
        return self.insert(op, operands, attrs, types, origin)

    def insert(
        self,
        op: str,
        operands: tuple[Value, ...],
        attributes: tuple[tuple[str, Any], ...],
        types: tuple[TensorType, ...],
        origin: Origin = NOWHERE,
    ) -> tuple[Value, ...]:
        """Add a node even when an equal one is here (text that is read back); attributes are sorted by name."""
        id, self._next = self._next, self._next + 1
        node = Node(id, op, operands, attributes, types, origin)
        self._known.setdefault((op, operands, attributes, types), id)
        self.nx.add_node(id, node=node)
        self._link(node)
        if self._order is not None:
            self._order.append(id)  # nothing uses it yet, and its id is the largest
        return node.values

    def _link(self, node: Node) -> None:
        for position, operand in enumerate(node.operands):
            self.nx.add_edge(operand.node, node.id, key=position, result=operand.index)

    def __getitem__(self, at: int | Value) -> Node:
        return self.nx.nodes[at.node if isinstance(at, Value) else at]["node"]

    def __contains__(self, id: int) -> bool:
        return id in self.nx

    def __len__(self) -> int:
        return len(self.nx)

    def type(self, value: Value) -> TensorType:
        return self[value].types[value.index]

    def nodes(self) -> Iterator[Node]:
        """Nodes in topological order; ids break ties, so the order is always the same."""
        if self._order is None:
            self._order = list(nx.lexicographical_topological_sort(self.nx))
        return (self[i] for i in tuple(self._order))

    def users(self, value: Value) -> list[tuple[int, int]]:
        """`(node, operand position)` of every use of a value, in order."""
        edges = self.nx.out_edges(value.node, keys=True, data=True) if value.node in self.nx else ()
        return sorted((user, position) for _, user, position, data in edges if data["result"] == value.index)

    def replace(self, old: Value, new: Value) -> None:
        """Let every user of `old` use `new` instead."""
        self.redirect(self.users(old), new)
        self.outputs = tuple(new if o == old else o for o in self.outputs)

    def redirect(self, uses: list[tuple[int, int]], new: Value) -> None:
        """Let some operands, `(node, position)` each, be `new` instead."""
        for user, position in uses:
            node = self[user]
            operands = (*node.operands[:position], new, *node.operands[position + 1 :])
            self._rewire(node, replace(node, operands=operands))

    def _rewire(self, old: Node, new: Node) -> None:
        for position, operand in enumerate(old.operands):
            self.nx.remove_edge(operand.node, old.id, key=position)
        self._known.pop((old.op, old.operands, old.attributes, old.types), None)
        self.nx.nodes[old.id]["node"] = new
        self._known.setdefault((new.op, new.operands, new.attributes, new.types), new.id)
        self._link(new)
        self._order = None

    def sweep(self, keep: tuple[str, ...] = ("input",)) -> int:
        """Remove nodes that no output needs (but never those whose op is in `keep`); returns how many.

        A node without results runs for what it remembers, so it stays.
        """
        live = {o.node for o in self.outputs} | {i for i in self.nx if not self[i].types}
        for output in tuple(live):
            live |= nx.ancestors(self.nx, output)
        dead = [i for i in self.nx if i not in live and self[i].op not in keep]
        for i in dead:
            node = self[i]
            if self._known.get((node.op, node.operands, node.attributes, node.types)) == i:
                del self._known[(node.op, node.operands, node.attributes, node.types)]
        self.nx.remove_nodes_from(dead)
        self._order = None if dead else self._order
        return len(dead)

    def problems(self) -> list[str]:
        """What is wrong with the structure itself: cycles, edges that disagree with operands, missing nodes."""
        found = [] if nx.is_directed_acyclic_graph(self.nx) else ["the graph has a cycle"]
        for id in self.nx:
            node = self[id]
            edges = {
                key: (source, data["result"]) for source, _, key, data in self.nx.in_edges(id, keys=True, data=True)
            }
            if edges != {i: (v.node, v.index) for i, v in enumerate(node.operands)}:
                found.append(f"%{id}: edges disagree with operands")
            for operand in node.operands:
                if operand.node not in self.nx or operand.index >= len(self[operand].types):
                    found.append(f"%{id}: operand %{operand.node}.{operand.index} does not exist")
        for output in self.outputs:
            if output.node not in self.nx:
                found.append(f"output %{output.node} does not exist")
        return found
