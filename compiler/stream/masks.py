"""Which inputs of a function are masks of a look at the history, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ...lang.axes import Axis, TensorType, union
from ...lang.sizes import Size
from ..ir.graph import Node, Value
from ..ir.module import Function, Module
from ..ir.reduction import MASKED
from ..ir.sources import sources


@dataclass(frozen=True)
class Mask:
    """Input number `input` says which entries along `history` each entry of `token` looks at (axes of the function)."""

    input: int
    token: str
    history: str


def masks(module: Module, name: str) -> tuple[Mask, ...]:
    """The inputs of a function that only serve as masks: they may be restricted by the caller."""
    function = module.functions[name]
    found = []
    for i, (_, type) in enumerate(function.inputs):
        if type.dtype == "bool":
            uses = _uses(module, function, function.input(i))
            if uses and all(use == uses[0] for use in uses) and uses[0] is not None:
                found.append(Mask(i, *uses[0]))
    return tuple(found)


def _uses(module: Module, function: Function, value: Value) -> list[tuple[str, str] | None]:
    """The (token, history) axes of every use as a mask; None for any other use."""
    graph = function.graph
    found: list[tuple[str, str] | None] = [None] if value in graph.outputs else []
    for user, position in graph.users(value):
        node = graph[user]
        if node.op in MASKED and position == 1 and len(looked := _over(node)) == 1:
            type = TensorType(union(tuple(graph.type(v) for v in node.operands)))
            history = type.axis(looked[0])
            tokens = [a for a in type.axes if _counts(module, a) and a.name != history.name]
            good = len(tokens) == 1 and (_counts(module, history) or _is_history(module, history))
            found.append((tokens[0].name, history.name) if good else None)
        elif node.op in ("and", "expand"):
            found += _uses(module, function, node.values[0])
        elif node.op == "call":
            callee = module.functions[node["callee"]]
            inner = [m for m in masks(module, callee.name) if m.input == position]
            names: dict[str, str] = {}
            for operand, (_, type) in zip(node.operands, callee.inputs, strict=True):
                for here, there in zip(graph.type(operand).names, type.names, strict=True):
                    names.setdefault(there, here)
            known = inner and inner[0].token in names and inner[0].history in names
            found.append((names[inner[0].token], names[inner[0].history]) if known else None)
        else:
            found.append(None)
    return found


def _over(node: Node) -> tuple[str, ...]:
    over = node["over"]
    return over if isinstance(over, tuple) else (over,)


def _counts(module: Module, axis: Axis) -> bool:
    return axis.size == Size.symbol(module.stream[0] if module.stream else module.sequence) or _is_source(module, axis)


def _is_source(module: Module, axis: Axis) -> bool:
    return str(axis.size) in sources(module)


def _is_history(module: Module, axis: Axis) -> bool:
    return module.stream is not None and axis.size == Size.symbol(module.stream[1])
