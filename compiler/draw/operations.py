"""What a primitive is called in a picture."""

from __future__ import annotations

from ...lang.sizes import Size
from ..ir.graph import Graph, Node, Value

SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}
SOURCES = frozenset(("const", "table", "param", "index", "position", "size", "ambient", "state"))
SILENT = frozenset(("expand", "cast"))
_WORDS = {
    "eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥",
    "pow": "^", "minimum": "min", "maximum": "max", "neg": "−",
}  # fmt: skip


def title(node: Node, graph: Graph, shown: list[bool]) -> str:
    """`softmax S`, `× scale`, `dot over K`: the operation, its axes, and the operands that are not drawn."""
    op = node.op
    if op == "dot":
        text = "dot over " + " ".join(node["over"])
        return text + _beside(node, graph, shown, " · ")
    if op in ("sum", "mean", "max", "min", "argmax"):
        return f"{op} over {' '.join(node['over'])}"
    if op == "softmax":
        return f"softmax over {node['over']}"
    if op == "top":
        return f"best {node['count']} of {node['over']}"
    if op == "take":
        return "take" + _beside(node, graph, shown, " from ")
    if op == "rename":
        return f"{node['axis']} → {node['to'].name}"
    if op == "split":
        return f"split {node['axis']} → {' '.join(a.name for a in node['into'])}"
    if op == "merge":
        return f"{' '.join(node['axes'])} → {node['into'].name}"
    if op == "select":
        return f"{node['axis']} [{node['at']}]"
    if op == "slice":
        return f"{node['axis']} [{node['start']} : {node['to'].size + Size.of(node['start'])}]"
    if op == "concat":
        return f"join along {node['axis']}"
    if op == "stack":
        return f"stack along {node['axis'].name}"
    if op == "dropout":
        return f"dropout {node['rate']:g}"
    if op == "shift":
        return f"shift {node['axis']} by {node['by']}"
    if op == "delays":
        return f"last {node['to'].size} along {node['axis']}"
    if op == "size":
        return f"size of {node['axis'].name}"
    if op in ("cumsum", "append", "last"):
        return f"{op} {node['axis']}"
    sign = SIGNS.get(op) or _WORDS.get(op) or op
    if len(node.operands) == 2 and not all(shown):
        other = describe(graph, node.operands[shown.index(False)])
        backwards = not shown[0] and op in ("sub", "div", "pow", "lt", "le", "gt", "ge")
        return f"{other} {sign}" if backwards else f"{sign} {other}"
    return sign


def _beside(node: Node, graph: Graph, shown: list[bool], between: str) -> str:
    hidden = [describe(graph, v) for v, seen in zip(node.operands, shown, strict=True) if not seen]
    return between + " ".join(hidden) if hidden else ""


def describe(graph: Graph, value: Value) -> str:
    """A value that is not drawn, in a word: a number, the name of a parameter, or what it is made from."""
    node = graph[value]
    if node.op == "const":
        return f"{node['value']:.4g}" if not isinstance(node["value"], bool) else str(node["value"]).lower()
    if node.op in ("param", "ambient", "input"):
        return str(node["name"])
    if node.op in ("position", "index", "size", "table"):
        return f"{node.op}({node['axis'].name})"
    named: dict[str, None] = {}
    waiting, met = list(node.operands), set()
    while waiting:
        at = waiting.pop()
        if at in met:
            continue
        met.add(at)
        inner = graph[at]
        if inner.op in ("param", "position", "index", "size"):
            named[describe(graph, at)] = None
        waiting += inner.operands
    return f"f({', '.join(sorted(named))})" if named else "constant"
