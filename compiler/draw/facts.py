"""What a picture says about an instance or a function when asked: parameters, types, what a decoder remembers."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.instances import find
from ..ir.module import Function, Instance, Layers, Module, Path, State, count_parameters
from ..quantities import count, spelled
from .picture import Kind

Facts = tuple[tuple[str, str], ...]

_KINDS = {
    "grow": "grows with every token",
    "constant": "computed once",
}


def place(path: Path) -> str:
    """`blocks.*.attn`: a path with the number of a layer left out."""
    return ".".join("*" if isinstance(part, int) else part for part in path)


def remembered(state: State) -> str:
    """`grows with every token`, `the last 4096 tokens`, `carried`."""
    if state.kind in ("ring", "delay"):
        return f"the last {state.width:,} tokens" if state.width != 1 else "the last token"
    return _KINDS.get(state.kind, "carried from token to token")


def instance_facts(module: Module, function: Function, path: Path, states: Sequence[State]) -> Facts:
    """Block, place, parameters, types and states of a method of an instance."""
    instance = find(module, path)
    assert isinstance(instance, Instance)
    facts = [("block", instance.block), ("place", place(path))]
    total = count_parameters(instance)
    if total:
        facts.append(("parameters", f"{total:,}"))
    facts += [(p.name, spelled(p.type)) for p in instance.parameters]
    return (*facts, *types(function), *state_facts(states))


def types(function: Function) -> Facts:
    """What goes in and what comes out."""
    inputs = [(f"in: {name}", spelled(type)) for name, type in function.inputs]
    outputs = [
        (name if name.startswith("penalty.") else "out", spelled(type))
        for name, type in zip(function.outputs, function.output_types, strict=True)
    ]
    return (*inputs, *outputs)


def state_facts(states: Sequence[State]) -> Facts:
    return tuple((f"remembers {s.name}", f"{spelled(s.type)}, {remembered(s)}") for s in states)


def kind(instance: Instance, function: Function) -> Kind:
    """The kind of an instance that is drawn without its inside, by what it does with its weights."""
    graph = function.graph
    if any(node.op == "take" and graph[node.operands[0]].op == "param" for node in graph.nodes()):
        return Kind.TABLE
    if any(len(p.shape) > 1 for p in instance.parameters):
        return Kind.MATRIX
    return Kind.VECTOR if count_parameters(instance) else Kind.PLAIN


def counted(child: Instance | Layers) -> str:
    """Learned values in words, "" when there are none."""
    total = count_parameters(child)
    return count(total) if total else ""
