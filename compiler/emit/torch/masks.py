"""Masks that a kernel knows by itself: causal and full attention need no tensor of bools."""

from __future__ import annotations

from ....lang.axes import TensorType
from ...ir.graph import Graph, Node, Value
from ...ir.module import Function, Module

ATTEND = "weft.attention.attend"
CAUSAL = "weft.attention.causal"
FULL = "weft.attention.full"


def structure(module: Module, function: Function, node: Node, position: int) -> str | None:
    """`causal` or `full` when operand `position` of a call is the mask of attention of that structure, else None."""
    if node.op != "call" or module.functions[node["callee"]].definition != ATTEND:
        return None
    callee = module.functions[node["callee"]]
    if callee.inputs[position][0] != "mask" or not _only_masks(callee):
        return None
    graph = function.graph
    return _structure(module, graph, node.operands[position], graph.type(node.operands[0]), graph.type(node.operands[1]))


def _only_masks(callee: Function) -> bool:
    """Whether the callee's mask goes straight into its softmax, and nowhere else."""
    graph = callee.graph
    mask = next((n for n in graph.nodes() if n.op == "input" and n["name"] == "mask"), None)
    if mask is None:
        return False
    users = graph.users(mask.values[0])
    return len(users) == 1 and graph[users[0][0]].op == "softmax" and users[0][1] == 1


def _structure(module: Module, graph: Graph, value: Value, query: TensorType, keys: TensorType) -> str | None:
    node = graph[value]
    while node.op == "expand":
        node = graph[node.operands[0]]
    if node.op == "const":
        return "full" if node["value"] is True else None
    if node.op == "call" and module.functions[node["callee"]].definition == FULL:
        return "full"
    if node.op == "call" and module.functions[node["callee"]].definition == CAUSAL:
        q, k = (graph[v] for v in node.operands)
    elif node.op == "le":
        k, q = (graph[v] for v in node.operands)
    elif node.op == "ge":
        q, k = (graph[v] for v in node.operands)
    else:
        return None
    if module.form != "full" or q.op not in ("position", "index") or k.op != q.op or len(query.axes) < 4 or len(keys.axes) < 3:
        return None
    here, there = q["axis"], k["axis"]
    stream = module.stream or ("", "")
    same = here.size == there.size or (str(here.size), str(there.size)) == stream
    return "causal" if same and here.name == query.axes[-4].name and there.name == keys.axes[-3].name else None
