"""Consistency of `call`, `repeat` and `scan` with the functions they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...lang.axes import Axis, AxisError, TensorType
from .control import scan_result
from .graph import Node
from .module import Function, Module

ATTRIBUTES = {
    "call": ("callee", "instance", "site"),
    "repeat": ("bodies", "schedule", "site", "instance", "carried", "sums"),
    "scan": ("body", "axis", "states", "scanned"),
}


def control_problems(module: Module, function: Function, node: Node) -> list[str]:
    """What does not fit between a node and the functions it runs; their axes agree by position."""
    operands = [function.graph.type(v) for v in node.operands]
    if node.op == "call":
        return list(_call(module.functions[node["callee"]], operands, node))
    if node.op == "repeat":
        return list(_repeat(module, operands, node))
    return list(_scan(module.functions[node["body"]], operands, node))


def agree(given: TensorType, wanted: TensorType) -> bool:
    """Same dtype, and the same sizes in the same order; names belong to each function alone."""
    return given.dtype == wanted.dtype and [a.size for a in given.axes] == [a.size for a in wanted.axes]


def _compare(what: str, given: Sequence[TensorType], wanted: Sequence[TensorType]) -> Iterator[str]:
    if len(given) != len(wanted):
        yield f"{len(given)} {what}s for {len(wanted)}"
        return
    for i, (a, b) in enumerate(zip(given, wanted, strict=True)):
        if not agree(a, b):
            yield f"{what} {i} is {a} here and {b} there"


def _inputs(function: Function) -> list[TensorType]:
    return [type for _, type in function.inputs]


def _outputs(function: Function) -> list[TensorType]:
    """The output types as far as the outputs exist (what is missing is reported with the function itself)."""
    graph = function.graph
    return [graph.type(v) for v in graph.outputs if v.node in graph and v.index < len(graph[v].types)]


def _call(callee: Function, operands: list[TensorType], node: Node) -> Iterator[str]:
    yield from _compare("operand", operands, _inputs(callee))
    yield from _compare("result", node.types, _outputs(callee))


def _repeat(module: Module, operands: list[TensorType], node: Node) -> Iterator[str]:
    carried, sums = node["carried"], node["sums"]
    if any(not 0 <= body < len(node["bodies"]) for body in node["schedule"]):
        yield "its schedule names a body that does not exist"
        return
    if carried > len(operands):
        yield f"{carried} carried values, but {len(operands)} operands"
        return
    for name in node["bodies"]:
        body = module.functions[name]
        outputs = _outputs(body)
        yield from (f"`{name}`: {p}" for p in _compare("operand", operands, _inputs(body)))
        yield from (f"`{name}`: {p}" for p in _compare("result", node.types, outputs))
        yield from (f"`{name}`: {p}" for p in _compare("carried value", outputs[:carried], operands[:carried]))
        if len(outputs) != carried + sums:
            yield f"`{name}`: {len(outputs)} outputs for {carried} carried values and {sums} sums"


def _scan(body: Function, operands: list[TensorType], node: Node) -> Iterator[str]:
    axis: Axis = node["axis"]
    count, last = node["states"], node["states"] + node["scanned"]
    if last > len(operands):
        yield f"{count} states and {node['scanned']} scanned values, but {len(operands)} operands"
        return
    for i, type in enumerate(operands[count:last]):
        if not type.has(axis.name) or type.axis(axis.name).size != axis.size:
            yield f"scanned value {i} is {type}: it lacks the axis {axis}"
            return
    slices = [t.without(axis.name) for t in operands[count:last]]
    inputs, outputs = _inputs(body), _outputs(body)
    # An initial state may lack axes of the state: it is repeated along them.
    yield from _compare("operand", [*inputs[:count], *slices, *operands[last:]], inputs)
    for i, (given, wanted) in enumerate(zip(operands[:count], inputs[:count], strict=False)):
        if not _starts(given, wanted):
            yield f"state {i} starts as {given}, the body has {wanted}"
    yield from _compare("state", outputs[:count], inputs[:count])
    # The caller's names of what the body yields are those of the result types without the axis.
    yields = node.types[: len(node.types) - count]
    leading = operands[count] if node["scanned"] else TensorType((axis,))
    yield from _compare("yielded value", [t.without(axis.name) for t in yields], outputs[count:])
    for i, type in enumerate(yields):
        try:
            placed = scan_result(type.without(axis.name), axis, leading)
        except (AxisError, ValueError) as error:
            yield f"result {i} is {type}: {error}"
            continue
        if placed != type:
            yield f"result {i} is {type}: the axis {axis} should make it {placed}"
    yield from _compare("final state", node.types[len(node.types) - count :], outputs[:count])


def _starts(given: TensorType, wanted: TensorType) -> bool:
    """Whether a state can start from a value: the same sizes in order, or a scalar that fills it."""
    return given.dtype == wanted.dtype and (not given.axes or agree(given, wanted))
