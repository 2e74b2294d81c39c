"""Where ONNX nodes are collected: the main graph, a model-local function, or the body of a Scan.

A scope numbers values (an equal node is written once) and hoists: a node whose operands all come from outside is
written outside. So what every layer computes alike from the positions alone is computed once, in the main graph, and
becomes one more input of the layer's function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

from ...ir.module import Path, join

DOMAIN = "weft"


@dataclass(frozen=True)
class Wire:
    """An ONNX value: its name, and the scope that defines it."""

    name: str
    scope: Scope = field(repr=False)


# What a node reads: a value, a literal, or nothing (an optional operand left out).
Operand = Wire | NDArray[Any] | None


END = np.array([np.iinfo(np.int64).max], np.int64)


def ints(*numbers: int) -> NDArray[np.int64]:
    """Whole numbers as the literal that shapes, axes and bounds are."""
    return np.array(numbers, np.int64)


class Scope(ABC):
    """Nodes in the order in which they were written, and the names that are taken."""

    def __init__(self, parent: Scope | None, prefix: str = "") -> None:
        self.parent = parent
        self.prefix = prefix
        self.nodes: list[NodeProto] = []
        self.updates: dict[Path, Wire] = {}
        self._names: dict[str, int] = {}
        self._known: dict[Any, tuple[Wire, ...]] = {}

    def emit(
        self, op: str, *operands: Operand, label: str = "", outputs: int = 1, **attributes: Any
    ) -> tuple[Wire, ...]:
        """The results of a node of the standard domain, written in the outermost scope that knows its operands."""
        home = self._home(operands)
        key = (op, tuple(_identity(o) for o in operands), tuple(sorted(attributes.items())), outputs)
        if key not in home._known:
            home._known[key] = home.write(op, operands, label=label, outputs=outputs, **attributes)
        return home._known[key]

    def write(
        self, op: str, operands: Iterable[Operand], *, label: str = "", outputs: int = 1, domain: str = "",
        **attributes: Any,
    ) -> tuple[Wire, ...]:
        """Add a node here, whether or not there is an equal one."""
        inputs = [self.read(o) for o in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        name = self.unique(f"{label}/{op}" if label else op)
        names = [name if i == 0 else f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return tuple(Wire(n, self) for n in names)

    def unique(self, name: str) -> str:
        """A name that is not taken in this scope."""
        name = self.prefix + name
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if count == 0 else self.unique(f"{name.removeprefix(self.prefix)}_{count}")

    def read(self, operand: Operand) -> str:
        """The name by which a node of this scope reads an operand; "" for one that is left out."""
        if operand is None:
            return ""
        if isinstance(operand, Wire):
            return operand.name if operand.scope is self else self._outside(operand)
        key = ("literal", _identity(operand))
        if key not in self._known:
            self._known[key] = self.literal(operand)
        return self._known[key][0].name

    def literal(self, array: NDArray[Any]) -> tuple[Wire]:
        name = self.unique("constant")
        value = numpy_helper.from_array(np.require(array, requirements="C"))
        self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=value))
        return (Wire(name, self),)

    @abstractmethod
    def parameter(self, path: Path) -> Wire:
        """The learned tensor at a path of the model."""

    @abstractmethod
    def state(self, path: Path) -> Wire:
        """What the step read: the state at a path of call sites."""

    def is_given(self, wire: Wire) -> bool:
        """Whether a value comes into this scope from outside."""
        return False

    def _outside(self, wire: Wire) -> str:
        raise ValueError(f"`{wire.name}` is not known here")

    def _home(self, operands: Iterable[Operand]) -> Scope:
        scopes = {id(o.scope) for o in operands if isinstance(o, Wire)}
        here = self
        while here.parent is not None and id(here) not in scopes:
            here = here.parent
        return here


class MainScope(Scope):
    """The main graph: its inputs (states among them), parameters in order of first use, dtypes and shapes of values."""

    def __init__(self) -> None:
        super().__init__(None)
        self.inputs: list[Wire] = []
        self.parameters: dict[Path, Wire] = {}
        self.states: dict[Path, Wire] = {}
        self.shapes: dict[str, tuple[str, tuple[int | str | None, ...]]] = {}

    def input(self, name: str) -> Wire:
        self.inputs.append(Wire(self.unique(name), self))
        return self.inputs[-1]

    def parameter(self, path: Path) -> Wire:
        if path not in self.parameters:
            self.parameters[path] = Wire(self.unique(join(path)), self)
        return self.parameters[path]

    def state(self, path: Path) -> Wire:
        return self.states[path]

    def is_given(self, wire: Wire) -> bool:
        return wire in self.inputs or wire in self.parameters.values()


@dataclass(frozen=True)
class Formal:
    """An input of a function. `kind` is operand, parameter, state or capture; `key` says which one."""

    kind: str
    key: Any


class FunctionScope(Scope):
    """The body of a model-local function; what it needs from outside becomes an input of it."""

    def __init__(self, main: Scope, instance: Path, sites: Path) -> None:
        super().__init__(main)
        self.instance = instance
        self.sites = sites
        self.formals: dict[Formal, Wire] = {}

    def formal(self, kind: str, key: Any, name: str) -> Wire:
        """The input for something from outside, made at its first use."""
        formal = Formal(kind, key)
        if formal not in self.formals:
            self.formals[formal] = Wire(self.unique(name), self)
        return self.formals[formal]

    def parameter(self, path: Path) -> Wire:
        up, down = relative(path, self.instance)
        return self.formal("parameter", (up, down), "^" * up + join(down))

    def state(self, path: Path) -> Wire:
        down = path[len(self.sites) :]
        return self.formal("state", down, join(down))

    def is_given(self, wire: Wire) -> bool:
        return wire in self.formals.values()

    def _outside(self, wire: Wire) -> str:
        return self.formal("capture", wire, wire.name).name


class BodyScope(Scope):
    """The body of a Scan: it sees the names around it, so its own are none of those."""

    parent: Scope

    def __init__(self, parent: Scope, prefix: str) -> None:
        super().__init__(parent, prefix)
        self._names = parent._names

    def parameter(self, path: Path) -> Wire:
        return self.parent.parameter(path)

    def state(self, path: Path) -> Wire:
        return self.parent.state(path)

    def _outside(self, wire: Wire) -> str:
        return self.parent.read(wire)


def relative(path: Path, base: Path) -> tuple[int, Path]:
    """`path` seen from `base`: levels up, then the way down."""
    common = 0
    while common < min(len(path), len(base)) and path[common] == base[common]:
        common += 1
    return len(base) - common, path[common:]


def sweep(nodes: list[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that the outputs need, in the same order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= reads(node)
    return kept[::-1]


def reads(node: NodeProto) -> set[str]:
    """All names that a node reads, those in its body included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        if attribute.HasField("g"):
            names |= _free(attribute.g)
    return names


def _free(graph: GraphProto) -> set[str]:
    bound = {i.name for i in graph.input} | {o for node in graph.node for o in node.output}
    wanted = {name for node in graph.node for name in reads(node)} | {o.name for o in graph.output}
    return wanted - bound


def _identity(operand: Operand) -> Any:
    if isinstance(operand, np.ndarray):
        return ("literal", operand.dtype.str, operand.shape, operand.tobytes())
    return operand
