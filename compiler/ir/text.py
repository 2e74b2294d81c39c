"""The IR as text that a person reads and `parse_module` reads back: the same module, the same text.

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      param scale: [D:4] = ones()
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, D:4]) {
      block Demo
      %1 = param(name=scale): [D:4]
      %2 = mul(%x, %1): [B, D:4]
      return %2
    }

`#` begins a comment. A node with several results has `%3.0`, `%3.1`, ...; inputs go by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import words
from .graph import Node, Value
from .module import Function, Instance, Layers, Module, State
from .order import numbers, ordered, reading_order
from .source import described
from .text_parser import parse_module

__all__ = ["label", "parse_module", "print_function", "print_instance", "print_module"]

# Operations whose type is an attribute too: it is written once.
SOURCES = ("const", "input", "param", "state", "ambient")


def print_module(module: Module, origins: bool = False) -> str:
    """The whole module; functions come after those they run. `origins` adds where every node is from, as comments."""
    facts = {
        "form": module.form, "entry": module.entry, "stream": module.stream,
        "batch": module.batch or None, "sequence": module.sequence or None, "encoder": module.encoder or None,
        "defaults": module.defaults or None, "target": module.target or None,
    }
    shown = ", ".join(f"{key}={words.attribute(value)}" for key, value in facts.items() if value is not None)
    parts = [f"module {words.name(module.name)} ({shown})\n", f"instance {print_instance(module.root)}\n"]
    parts += [print_function(module.functions[name], origins) for name in reading_order(module)]
    return "\n".join(parts)


def print_instance(instance: Instance, margin: str = "") -> str:
    """An instance with its parameters and children, layers of one description once."""
    return "\n".join(_instance(instance, margin))


def print_function(function: Function, origins: bool = False) -> str:
    """A function: its signature, what it was made from, its nodes, its states, its outputs."""
    number = numbers(function)
    inputs = ", ".join(f"{words.name(name)}: {words.tensor(type)}" for name, type in function.inputs)
    types = zip(function.outputs, function.output_types, strict=True)
    outputs = ", ".join(f"{words.name(name)}: {words.tensor(type)}" for name, type in types)
    lines = [f"function {words.name(function.name)}({inputs}) -> ({outputs}) {{"]
    lines += [f"  {line}" for line in _facts(function)]
    for node in ordered(function)[len(function.inputs) :]:
        lines.append(f"  {_node(function, node, number)}" + (f"  # {node.origin}" if origins else ""))
    lines += [f"  {_state(function, state, number)}" for state in function.states]
    lines.append("  return " + ", ".join(label(function, v, number) for v in function.graph.outputs))
    return "\n".join(lines) + "\n}\n"


def label(function: Function, value: Value, number: Mapping[int, int]) -> str:
    """How text and messages name a value: `%x` for an input, `%7`, or `%7.1` when its node has several results."""
    node = function.graph[value]
    if node.op == "input":
        return f"%{words.name(node['name'])}"
    return f"%{number[value.node]}" + (f".{value.index}" if len(node.types) > 1 else "")


def _facts(function: Function) -> Iterator[str]:
    if function.block:
        yield f"block {words.name(function.block)}"
    if function.method != "forward":
        yield f"method {words.name(function.method)}"
    if function.definition:
        yield f"definition {words.name(function.definition)}"
    for name, value in function.statics:
        yield f"static {words.name(name)} = {words.attribute(value)}"


def _node(function: Function, node: Node, number: Mapping[int, int]) -> str:
    items = [label(function, v, number) for v in node.operands]
    plain = node.op in SOURCES and len(node.types) == 1 and node.get("type") == node.types[0]
    items += [f"{k}={words.attribute(v)}" for k, v in node.attributes if not (plain and k == "type")]
    types = [words.tensor(t) for t in node.types]
    type = types[0] if len(types) == 1 else f"({', '.join(types)})"
    return f"%{number[node.id]} = {words.name(node.op)}({', '.join(items)}): {type}"


def _state(function: Function, state: State, number: Mapping[int, int]) -> str:
    facts = {"update": label(function, state.update, number), "initial": words.attribute(state.initial)}
    if state.axis is not None:
        facts["axis"] = words.attribute(state.axis)
    if state.width is not None:
        facts["width"] = words.attribute(state.width)
    shown = ", ".join(f"{key}={value}" for key, value in facts.items())
    return f"state {words.name(state.name)} = {words.name(state.kind)}({shown}): {words.tensor(state.type)}"


def _instance(instance: Instance, margin: str) -> Iterator[str]:
    members = bool(instance.parameters or instance.children)
    yield words.name(instance.block) + (" {" if members else "")
    inner = margin + "  "
    for p in instance.parameters:
        made = f" from {words.attribute(described(p.source))}" if p.source else ""
        yield f"{inner}param {words.name(p.name)}: {words.tensor(p.type)} = {words.init(p.init)}{made}"
    for name, child in instance.children:
        shown = f'{inner}"param": ' if name == "param" else f"{inner}{words.name(name)}: "
        if isinstance(child, Layers):
            yield f"{shown}layers {words.sequence(child.schedule)} {{"
            for body in child.bodies:
                yield f"{inner}  {print_instance(body, inner + '  ')}"
            yield inner + "}"
        else:
            yield shown + print_instance(child, inner)
    if members:
        yield margin + "}"
