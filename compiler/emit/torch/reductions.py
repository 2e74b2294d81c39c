"""Primitives that look along an axis, under a mask where they have one, as PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...ir.graph import Node
from . import layout
from .tensor_text import dim_of, method_of, one
from .text import Expr, Level, Precision, literal
from .writer import Writer


def _reduction(method: str) -> Callable[[Writer, Node], Expr]:
    def make(writer: Writer, node: Node, expr: Expr) -> Expr:
        over = node["over"]
        if method == "mean":
            expr = writer.real(expr)
            if expr.precision is Precision.WHOLE:
                expr = writer.real(replace(expr, precision=Precision.COUNT))
        if not over:
            return expr
        return _reduced(expr, method, over)

    return one(make)


def _reduced(expr: Expr, method: str, over: Sequence[str]) -> Expr:
    axes = tuple(a for a in expr.axes if a.name not in over)
    return method_of(expr, f".{method}(dim={_dims(expr, over)})" if axes else f".{method}()", axes)


def _dims(expr: Expr, over: Sequence[str]) -> str:
    """The positions of some axes, counted from the end when they are the last."""
    dims = sorted(expr.names.index(n) for n in over)
    if dims == list(range(len(expr.axes) - len(dims), len(expr.axes))):
        dims = [d - len(expr.axes) for d in dims]
    return str(dims[0]) if len(dims) == 1 else f"({', '.join(map(str, dims))})"


def _seen(writer: Writer, node: Node, over: Sequence[str]) -> tuple[Expr, Expr | None]:
    """What a node looks at and its mask, ready to be compared entry by entry; None when the mask is always true."""
    x = writer.real(writer.values[node.operands[0]])
    if x.number is not None or any(name not in x.names for name in over):
        x = writer.real(writer.shaped(node.operands[0]))
    mask = writer.values[node.operands[1]] if len(node.operands) == 2 else literal(True)
    if mask.number is True:
        return x, None
    if mask.number is not None:
        mask = writer.shaped(node.operands[1])
    target = layout.merged((x.axes, mask.axes), (*x.names, *node.types[0].names))
    names = [a.name for a in target]
    wide = layout.aligned(x, names)
    if len(x.axes) < len(target):
        lengths = ", ".join("-1" if a.name in x.names else writer.size(a) for a in target)
        wide = wide.with_text(f"{wide.at(Level.ATOM)}.expand({lengths})")
    return replace(wide, axes=target), layout.aligned(mask, names, complete=True)


def _max(writer: Writer, node: Node) -> Expr:
    """The largest entry; where a mask keeps none it is 0."""
    if len(node.operands) == 1:
        return _reduction("amax")(writer, node)

    def render() -> Expr:
        x, mask = _seen(writer, node, node["over"])
        if mask is None or not node["over"]:
            return _reduced(x, "amax", node["over"])
        helper = writer.emission.helper("masked_max")
        result = x.with_text(f"{helper}({x.text}, {mask.text}, {_dims(x, node['over'])})")
        return replace(result, axes=tuple(a for a in x.axes if a.name not in node["over"]))

    return writer.fit(render, node.operands)


def _argmax(writer: Writer, node: Node) -> Expr:
    (name,) = node["over"]

    def render() -> Expr:
        x, mask = _seen(writer, node, (name,))
        axes = tuple(a for a in x.axes if a.name != name)
        if mask is not None:
            x = x.with_text(f"{writer.emission.helper('kept')}({x.text}, {mask.text})")
        return replace(method_of(x, f".argmax(dim={dim_of(x, name)})", axes), precision=Precision.WHOLE)

    return writer.fit(render, node.operands)


def _softmax(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        scores, mask = _seen(writer, node, (node["over"],))
        dim = dim_of(scores, node["over"])
        if mask is None:
            return scores.with_text(f"torch.softmax({scores.text}, dim={dim})")
        helper = writer.emission.helper("masked_softmax")
        return scores.with_text(f"{helper}({scores.text}, {mask.text}, dim={dim})")

    return writer.fit(render, node.operands)


def _top(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        x, mask = _seen(writer, node, (node["over"],))
        helper = writer.emission.helper("largest")
        count = writer.emission.blanks.mark(node["count"], "count")
        kept = x.text if mask is None else f"{writer.emission.helper('kept')}({x.text}, {mask.text})"
        found = x.with_text(f"{helper}({kept}, {count}, dim={dim_of(x, node['over'])})")
        if mask is not None:
            found = found.with_text(f"{found.text} & {mask.at(Level.AND)}", Level.AND)
        return replace(found, precision=Precision.WHOLE)

    return writer.fit(render, node.operands)


REDUCTIONS: Mapping[str, Callable[[Writer, Node], Expr]] = {
    "sum": _reduction("sum"), "mean": _reduction("mean"), "max": _max, "min": _reduction("amin"),
    "argmax": _argmax, "softmax": _softmax, "top": _top,
}
