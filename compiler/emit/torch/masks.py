"""How a function computes attention, and which of its masks a kernel knows by itself."""

from __future__ import annotations

from dataclasses import dataclass

from ....lang.axes import TensorType
from ...ir.graph import Graph, Node, Value
from ...ir.module import Function, Module

ATTEND = "weft.attention.attend"
CAUSAL = "weft.attention.causal"
FULL = "weft.attention.full"


@dataclass(frozen=True)
class Parts:
    """The values of `dot(softmax(dot(q, k) * scale + bias where mask), v)`; `mask` and `bias` may be absent."""

    q: Value
    k: Value
    v: Value
    scale: float
    bias: Value | None
    mask: Value | None


def parts(function: Function) -> Parts | None:
    """The parts of attention over q [.., T, G, R, K], k [.., S, G, K] and v [.., S, G, U], or None if it is not that.

    A derived form may restrict the mask; the rest is the body of `weft.attention.attend`.
    """
    graph = function.graph
    if function.definition != ATTEND or function.block or len(graph.outputs) != 1:
        return None
    mixed = _below_expand(graph, graph.outputs[0])
    if mixed.op != "dot":
        return None
    weights = graph[mixed.operands[0]]
    if weights.op != "softmax" or mixed["over"] != (weights["over"],):
        return None
    scores = graph[weights.operands[0]]
    bias = None
    if scores.op == "add":
        scores, bias = graph[scores.operands[0]], scores.operands[1]
    scale = 1.0
    if scores.op == "mul" and graph[scores.operands[1]].op == "const":
        scale, scores = float(graph[scores.operands[1]]["value"]), graph[scores.operands[0]]
    if scores.op != "dot":
        return None
    mask = weights.operands[1] if len(weights.operands) == 2 else None
    found = Parts(scores.operands[0], scores.operands[1], mixed.operands[1], scale, bias, mask)
    return found if _stands(graph, found) else None


def _stands(graph: Graph, found: Parts) -> bool:
    """Whether q, k and v are inputs with their axes where the kernel wants them."""
    if any(graph[v].op != "input" for v in (found.q, found.k, found.v)):
        return False
    q, k, v = (graph.type(x).names for x in (found.q, found.k, found.v))
    if len(q) < 4 or len(k) < 3 or len(v) < 3:
        return False
    return q[:-4] == k[:-3] == v[:-3] and q[-3] == k[-2] == v[-2] and k[-3] == v[-3] and q[-1] == k[-1]


def structure(module: Module, function: Function, node: Node, position: int) -> str | None:
    """`causal` or `full` when operand `position` of a call is the mask of attention of that structure, else None."""
    callee = module.functions[node["callee"]]
    found = parts(callee)
    if found is None or found.mask is None:
        return None
    mask = callee.graph[found.mask]
    if mask.op != "input" or mask["name"] != callee.inputs[position][0] or len(callee.graph.users(found.mask)) != 1:
        return None
    graph = function.graph
    query, keys = (_operand(node, callee, inner, graph) for inner in (found.q, found.k))
    kind = _structure(module, graph, node.operands[position], query, keys)
    return None if kind == "causal" and not _unbiased(module, function, node, callee, found) else kind


def _operand(node: Node, callee: Function, inner: Value, graph: Graph) -> TensorType:
    """The caller's type of what the callee knows as an input."""
    names = [name for name, _ in callee.inputs]
    return graph.type(node.operands[names.index(callee.graph[inner]["name"])])


def _unbiased(module: Module, function: Function, node: Node, callee: Function, found: Parts) -> bool:
    if found.bias is None:
        return True
    bias = callee.graph[found.bias]
    if bias.op == "input":
        at = [name for name, _ in callee.inputs].index(bias["name"])
        return known_number(module, function.graph, node.operands[at]) == 0
    return known_number(module, callee.graph, found.bias) == 0


def known_number(module: Module, graph: Graph, value: Value) -> bool | int | float | None:
    """The number that a value is filled with, as far as constants and functions that return one tell."""
    node = graph[value]
    while node.op in ("expand", "cast", "rename"):
        node = graph[node.operands[0]]
    if node.op == "call":
        callee = module.functions[node["callee"]]
        return known_number(module, callee.graph, callee.graph.outputs[value.index])
    return node["value"] if node.op == "const" else None


def _structure(module: Module, graph: Graph, value: Value, query: TensorType, keys: TensorType) -> str | None:
    if known_number(module, graph, value) is True:
        return "full"
    node = _below_expand(graph, value)
    if node.op == "call" and module.functions[node["callee"]].definition == CAUSAL:
        q, k = (graph[v] for v in node.operands)
    elif node.op == "le":
        k, q = (graph[v] for v in node.operands)
    elif node.op == "ge":
        q, k = (graph[v] for v in node.operands)
    else:
        return None
    if module.form != "full" or q.op not in ("position", "index") or k.op != q.op:
        return None
    here, there = q["axis"], k["axis"]
    stream = module.stream or ("", "")
    same = here.size == there.size or (str(here.size), str(there.size)) == stream
    return "causal" if same and here.name == query.axes[-4].name and there.name == keys.axes[-3].name else None


def _below_expand(graph: Graph, value: Value) -> Node:
    node = graph[value]
    while node.op == "expand":
        node = graph[node.operands[0]]
    return node
