"""One run of a function while it is being written as ONNX: its arguments, and the values found so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ....lang.axes import TensorType
from ...ir.graph import Node, Value
from ...ir.module import Function, Path
from .joined import Joined
from .layout import Tensor, Writer

if TYPE_CHECKING:
    from .translate import Translator

Argument = Tensor | Joined


@dataclass(frozen=True)
class Place:
    """Where a function runs: what writes its nodes, on which instance, at which path of call sites."""

    writer: Writer
    instance: Path = ()
    sites: Path = ()


@dataclass
class Activation:
    """Values are worked out when they are asked for, each once."""

    translator: Translator
    function: Function
    arguments: Mapping[str, Argument]
    place: Place
    values: dict[Value, Argument] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.function.inputs)

    def type(self, name: str) -> TensorType:
        """The type of an input."""
        return dict(self.function.inputs)[name]

    def tensor(self, name: str) -> Tensor:
        """An argument as a tensor."""
        return self._whole(self.arguments[name])

    def joined(self, name: str) -> Joined | None:
        """An argument that is memory and new entries, not joined yet."""
        argument = self.arguments[name]
        return argument if isinstance(argument, Joined) and argument.is_open else None

    def static(self, name: str) -> float | None:
        """A number that is known now: a static argument, or an operand that is a literal."""
        given = dict(self.function.statics).get(name)
        if given is None and name in self.arguments:
            argument = self.tensor(name)
            if isinstance(argument.wire, np.ndarray) and argument.wire.ndim == 0:
                given = float(argument.wire)
        return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None

    def softmax_mask(self) -> Tensor | None:
        """The mask of the one softmax in the body, as the body works it out."""
        (node,) = (n for n in self.translator.nodes(self.function) if n.op == "softmax")
        return self.read(node.operands[1]) if len(node.operands) == 2 else None

    def read(self, value: Value) -> Tensor:
        """A value of the body as a tensor."""
        return self._whole(self.argument(value))

    def argument(self, value: Value) -> Argument:
        """A value of the body, in the form in which a call passes it on."""
        if value not in self.values:
            self.evaluate((value,))
        return self.values[value]

    def evaluate(self, wanted: Iterable[Value]) -> None:
        """Work out values and all they depend on, in the order of the graph."""
        graph, needed = self.function.graph, set[int]()
        waiting = [v.node for v in wanted if v not in self.values]
        while waiting:
            id = waiting.pop()
            if id not in needed:
                needed.add(id)
                waiting += [v.node for v in graph[id].operands if v not in self.values]
        for node in self.translator.nodes(self.function):
            if node.id in needed:
                self.values.update(zip(node.values, self._results(node), strict=False))

    def _results(self, node: Node) -> tuple[Argument, ...]:
        if node.op == "input":
            return (self.arguments[node["name"]],)
        return self.translator.node(self, node)

    def _whole(self, argument: Argument) -> Tensor:
        return argument.tensor(self.place.writer) if isinstance(argument, Joined) else argument
