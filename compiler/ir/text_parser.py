"""Reading IR text back into a module (`text.py` writes it and says what it looks like)."""

from __future__ import annotations

import re
from typing import Any

from ...lang.axes import TensorType
from .graph import Graph, Value
from .module import Function, Instance, Layers, Module, Parameter, State
from .source import Source, restored
from .text_scanner import Scanner

_REFERENCE = re.compile(r"(\d+)(?:\.(\d+))?")
_SOURCES = ("const", "input", "param", "state", "ambient")
_DEPTH = 200


def parse_module(text: str, path: str = "<ir>") -> Module:
    """The module that a text describes. Raises WeftError (E0802) that points at what cannot be read.

    Only the form of the text is checked here; `verify` says whether the module is consistent.
    """
    scanner = Scanner(text, path)
    if scanner.word("module") is None:
        scanner.fail("`module`")
    name = scanner.name()
    facts = _settings(scanner, ("form", "entry", "stream", "batch", "sequence", "encoder", "defaults", "target"))
    if scanner.word("instance") is None:
        scanner.fail("`instance`")
    root = _instance(scanner, 0)
    functions: dict[str, Function] = {}
    while scanner.at < len(scanner.text):
        if scanner.word("function") is None:
            scanner.fail("`function` or the end of the text")
        at = scanner.at
        function = _FunctionReader(scanner).read()
        if function.name in functions:
            scanner.fail("a name that no other function has", at)
        functions[function.name] = function
    return Module(
        name, functions, str(facts.get("entry", "")), root, facts.get("stream"), str(facts.get("form", "full")),
        str(facts.get("batch", "")), str(facts.get("sequence", "")), encoder=str(facts.get("encoder", "")),
        defaults=_defaults(scanner, facts.get("defaults", ())), target=str(facts.get("target", "")),
    )


def _defaults(scanner: Scanner, found: Any) -> tuple[tuple[str, bool | int | float], ...]:
    """The inputs that may be left out, with the numbers that stand in for them."""
    pairs = found if isinstance(found, tuple) else (None,)
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            scanner.fail("a module whose `defaults` are pairs of an input and a number")
        if not isinstance(pair[1], bool | int | float):
            scanner.fail("a module whose `defaults` are pairs of an input and a number")
    return pairs


def _settings(scanner: Scanner, known: tuple[str, ...]) -> dict[str, Any]:
    """`(key=value, ..)`."""
    scanner.expect("(")
    found: dict[str, Any] = {}
    while not scanner.take(")"):
        at = scanner.at
        key = scanner.name()
        if key not in known or key in found:
            scanner.fail(f"one of {', '.join(known)}, each once", at)
        scanner.expect("=")
        found[key] = scanner.value()
        if not scanner.take(",") and not scanner.sees(")"):
            scanner.fail("`,` or `)`")
    return found


def _instance(scanner: Scanner, depth: int) -> Instance:
    if depth > _DEPTH:
        scanner.fail("fewer instances inside each other")
    block = scanner.name("the name of a block")
    parameters: list[Parameter] = []
    children: list[tuple[str, Instance | Layers]] = []
    if scanner.take("{"):
        while not scanner.take("}"):
            if scanner.word("param"):
                name = scanner.name()
                scanner.expect(":")
                type = scanner.tensor()
                scanner.expect("=")
                init = scanner.init(scanner.name("an initialiser"))
                parameters.append(Parameter(name, type, init, source=_source(scanner)))
                continue
            name = scanner.name("a parameter, a child or `}`")
            scanner.expect(":")
            children.append((name, _child(scanner, depth + 1)))
    return Instance(block, tuple(parameters), tuple(children))


def _source(scanner: Scanner) -> Source | None:
    """`from joined(..)`: what a parameter is made from, if that is said."""
    at = scanner.at
    if scanner.word("from") is None:
        return None
    try:
        found = restored(scanner.value())
    except ValueError:
        found = None
    if not isinstance(found, Source):
        scanner.fail("what the parameter is made from, such as `stored(..)`, `joined(..)` or `quantized(..)`", at)
    return found


def _child(scanner: Scanner, depth: int) -> Instance | Layers:
    at = scanner.at
    if scanner.word("layers") is None or not scanner.sees("("):
        scanner.at = at  # a block that is called `layers`
        return _instance(scanner, depth)
    schedule = scanner.sequence()
    scanner.expect("{")
    bodies = []
    while not scanner.take("}"):
        bodies.append(_instance(scanner, depth))
    return Layers(tuple(bodies), schedule)


class _FunctionReader:
    """The nodes of one function as they are read: values by the names the text gives them."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.graph = Graph()
        self.inputs: dict[str, Value] = {}
        self.nodes: dict[int, tuple[Value, ...]] = {}

    def read(self) -> Function:
        scanner = self.scanner
        name = scanner.name("the name of a function")
        inputs = self._signature()
        for key, type in inputs:
            (self.inputs[key],) = self.graph.insert("input", (), (("name", key), ("type", type)), (type,))
        scanner.expect("->")
        outputs = self._signature()
        scanner.expect("{")
        facts: dict[str, str] = {}
        statics: list[tuple[str, Any]] = []
        while (word := scanner.word("block", "method", "definition", "static")) is not None:
            if word == "static":
                key = scanner.name()
                scanner.expect("=")
                statics.append((key, scanner.value()))
            else:
                facts[word] = scanner.name()
        while scanner.sees("%"):
            self._node()
        states = []
        while scanner.word("state"):
            states.append(self._state())
        if scanner.word("return") is None:
            scanner.fail("a node, a state or `return`")
        self.graph.outputs = self._results(outputs)
        scanner.expect("}")
        return Function(
            name, self.graph, inputs, tuple(key for key, _ in outputs), facts.get("block", ""),
            facts.get("method", "forward"), facts.get("definition", ""), tuple(statics), tuple(states),
        )

    def _signature(self) -> tuple[tuple[str, TensorType], ...]:
        scanner = self.scanner
        scanner.expect("(")
        found: dict[str, TensorType] = {}
        while not scanner.take(")"):
            at = scanner.at
            name = scanner.name()
            if name in found:
                scanner.fail("a name that is not there twice", at)
            scanner.expect(":")
            found[name] = scanner.tensor()
            if not scanner.take(",") and not scanner.sees(")"):
                scanner.fail("`,` or `)`")
        return tuple(found.items())

    def _results(self, outputs: tuple[tuple[str, TensorType], ...]) -> tuple[Value, ...]:
        scanner = self.scanner
        found: list[Value] = []
        at = scanner.at
        more = scanner.sees("%")
        while more:
            at = scanner.at
            found.append(self._value())
            if len(found) <= len(outputs) and self.graph.type(found[-1]) != outputs[len(found) - 1][1]:
                scanner.fail(f"a value of the type in the signature, {outputs[len(found) - 1][1]}", at)
            more = scanner.take(",")
        if len(found) != len(outputs):
            scanner.fail(f"{len(outputs)} values, as in the signature", at)
        return tuple(found)

    def _value(self) -> Value:
        scanner, at = self.scanner, self.scanner.at
        scanner.expect("%")
        number = scanner.match(_REFERENCE)
        if number is None:
            name = scanner.name("the number of a node or the name of an input")
            if name not in self.inputs:
                scanner.fail("an input of this function", at)
            return self.inputs[name]
        node, _, index = number.partition(".")
        values = self.nodes.get(int(node)) if len(node) < 10 else None
        if values is None or len(index) > 9 or int(index or 0) >= len(values) or (not index and len(values) != 1):
            scanner.fail("a node above this one, with the number of its result when it has several", at)
        return values[int(index or 0)]

    def _node(self) -> None:
        scanner, at = self.scanner, self.scanner.at
        scanner.expect("%")
        number = scanner.match(re.compile(r"\d{1,9}"))
        if number is None or int(number) in self.nodes:
            scanner.fail("a number that no node above has", at)
        scanner.expect("=")
        op = scanner.name("an operation")
        operands, attributes = self._arguments()
        scanner.expect(":")
        types = self._types()
        if op in _SOURCES and "type" not in attributes and len(types) == 1:
            attributes["type"] = types[0]
        self.nodes[int(number)] = self.graph.insert(op, operands, tuple(sorted(attributes.items())), types)

    def _arguments(self) -> tuple[tuple[Value, ...], dict[str, Any]]:
        scanner = self.scanner
        scanner.expect("(")
        operands: list[Value] = []
        attributes: dict[str, Any] = {}
        while not scanner.take(")"):
            at = scanner.at
            if scanner.sees("%") and not attributes:
                operands.append(self._value())
            else:
                key = scanner.name("a value or an attribute")
                if key in attributes:
                    scanner.fail("an attribute that is not there twice", at)
                scanner.expect("=")
                attributes[key] = scanner.value()
            if not scanner.take(",") and not scanner.sees(")"):
                scanner.fail("`,` or `)`")
        return tuple(operands), attributes

    def _types(self) -> tuple[TensorType, ...]:
        scanner = self.scanner
        if not scanner.take("("):
            return (scanner.tensor(),)
        types = []
        while not scanner.take(")"):
            types.append(scanner.tensor())
            if not scanner.take(",") and not scanner.sees(")"):
                scanner.fail("`,` or `)`")
        return tuple(types)

    def _state(self) -> State:
        scanner = self.scanner
        name = scanner.name()
        scanner.expect("=")
        kind = scanner.name("the kind of a state")
        scanner.expect("(")
        update: Value | None = None
        facts: dict[str, Any] = {}
        while not scanner.take(")"):
            at = scanner.at
            key = scanner.name()
            scanner.expect("=")
            if key == "update":
                update = self._value()
            elif key in ("axis", "width", "initial"):
                facts[key] = scanner.value()
            else:
                scanner.fail("update, axis, width or initial", at)
            if not scanner.take(",") and not scanner.sees(")"):
                scanner.fail("`,` or `)`")
        if update is None:
            scanner.fail("`update=` among the facts of the state")
        scanner.expect(":")
        return State(
            name, kind, scanner.tensor(), update, facts.get("axis"), facts.get("width"), facts.get("initial", 0.0)
        )
