"""Every primitive that is not elementwise, as PyTorch: one function per primitive, found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ....lang import errors
from ....lang.axes import Axis
from ....lang.diagnostics import WeftError
from ...ir.graph import Node, Value
from ...ir.ops import ELEMENTWISE_NAMES
from . import layout
from .calls import call
from .dot import dot
from .elementwise import cast, elementwise
from .loops import repeat
from .names import key_part
from .noise import dropout
from .scans import scan
from .text import Expr, Level, Precision, literal, show
from .writer import Writer

Render = Callable[[], Expr]


def emit(writer: Writer, node: Node) -> None:
    """Write one node into its function. Raises WeftError for an operation that has no source."""
    if node.op in ELEMENTWISE_NAMES:
        writer.settle(node.values[0], elementwise(writer, node))
    elif node.op in SINGLE:
        writer.settle(node.values[0], SINGLE[node.op](writer, node))
    elif node.op in SEVERAL:
        SEVERAL[node.op](writer, node)
    else:
        raise WeftError(errors.not_in_torch(f"the operation `{node.op}`", "it has no source", node.origin.first_span()))


def _dim(expr: Expr, name: str) -> int:
    """The position of an axis; the last one is -1."""
    at = expr.names.index(name)
    return -1 if at == len(expr.axes) - 1 else at


def _method(expr: Expr, text: str, axes: tuple[Axis, ...] | None = None) -> Expr:
    """A method of a tensor: `.name(..)`."""
    return replace(expr.with_text(f"{expr.at(Level.ATOM)}{text}"), axes=expr.axes if axes is None else axes)


def _subscript(expr: Expr, name: str, entry: str) -> str:
    return f"[{layout.shortest([entry if n == name else ':' for n in expr.names])}]"


def _swapped(expr: Expr, name: str, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes with one replaced by others."""
    at = expr.names.index(name)
    return (*expr.axes[:at], *axes, *expr.axes[at + 1 :])


def _one(make: Callable[[Writer, Node, Expr], Expr]) -> Callable[[Writer, Node], Expr]:
    """A primitive of one operand that must have all its axes."""

    def run(writer: Writer, node: Node) -> Expr:
        return writer.fit(lambda: make(writer, node, writer.shaped(node.operands[0])), node.operands)

    return run


# ------------------------------------------------------------------ sources


def _const(writer: Writer, node: Node) -> Expr:
    return writer.number(node["value"])


def _param(writer: Writer, node: Node) -> Expr:
    return Expr(f"self.{node['name']}", Level.ATOM, node.types[0].axes, Precision.PARAMETER)


def _state(writer: Writer, node: Node) -> Expr:
    kind = next(s.kind for s in writer.function.states if s.name == node["name"])
    precision = Precision.WIDE if kind == "carry" else Precision.COMPUTE
    if node.types[0].dtype != "real":
        precision = Precision.WHOLE
    writer.scope.method.stateful = True
    expr = Expr(f"states[{writer.key(key_part(node['name']))}]", Level.ATOM, node.types[0].axes, precision)
    name = writer.scope.names.take(node["name"] if kind == "constant" else f"past_{node['name']}", "past_state")
    writer.scope.line(f"{name} = {expr.text}", (expr.axes,))
    writer.scope.shaped.append((name, expr.axes))
    return expr.with_text(name)


def _ambient(writer: Writer, node: Node) -> Expr:
    return Expr(writer.ambient(node["name"]), Level.ATOM, node.types[0].axes, Precision.WHOLE)


def _arange(writer: Writer, node: Node) -> Expr:
    axis = node["axis"]
    return Expr(f"torch.arange({writer.size(axis)}{writer.on_device()})", Level.ATOM, (axis,), Precision.WHOLE)


def _size(writer: Writer, node: Node) -> Expr:
    """How many entries an axis has, as a tensor: it is a number only while the model runs."""
    text = f"torch.full((), float({writer.size(node['axis'])}){writer.on_device()})"
    return Expr(text, Level.ATOM, (), Precision.WIDE)


def _table(writer: Writer, node: Node) -> Expr:
    """A short table stands where it is used, a long one at the top of the file."""
    text = show(node["values"])
    text = text if len(text) <= 48 else writer.emission.table(text)
    precision = Precision.WIDE if node.types[0].dtype == "real" else Precision.WHOLE
    return Expr(f"torch.tensor({text}{writer.on_device()})", Level.ATOM, (node["axis"],), precision)


# ------------------------------------------------------------------ reductions


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

    return _one(make)


def _reduced(expr: Expr, method: str, over: Sequence[str]) -> Expr:
    axes = tuple(a for a in expr.axes if a.name not in over)
    return _method(expr, f".{method}(dim={_dims(expr, over)})" if axes else f".{method}()", axes)


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
        return replace(_method(x, f".argmax(dim={_dim(x, name)})", axes), precision=Precision.WHOLE)

    return writer.fit(render, node.operands)


def _softmax(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        scores, mask = _seen(writer, node, (node["over"],))
        dim = _dim(scores, node["over"])
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
        found = x.with_text(f"{helper}({kept}, {count}, dim={_dim(x, node['over'])})")
        if mask is not None:
            found = found.with_text(f"{found.text} & {mask.at(Level.AND)}", Level.AND)
        return replace(found, precision=Precision.WHOLE)

    return writer.fit(render, node.operands)


# ------------------------------------------------------------------ gather


def _take(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        table, ids = writer.shaped(node.operands[0]), writer.shaped(node.operands[1])
        table = writer.real(table)
        axis = node["axis"]
        rest = tuple(a for a in table.axes if a.name != axis)
        if not _in_range(writer, node.operands[1]):
            last = writer.size(writer.type(node.operands[0]).axis(axis))
            ids = ids.with_text(f"{ids.at(Level.ATOM)}.clamp(0, {last} - 1)")
        if not any(a.name in ids.names for a in rest):
            result = replace(table, axes=(*ids.axes, *rest))
            if table.names[0] == axis and len(table.axes) == 2 and ids.axes:
                return result.with_text(f"F.embedding({ids.text}, {table.text})")
            if table.names[0] != axis:
                table = layout.ordered(table, (axis, *(a.name for a in rest)))
            return result.with_text(f"{table.at(Level.ATOM)}[{ids.text}]")
        target = (*ids.axes, *(a for a in rest if a.name not in ids.names))
        at = table.names.index(axis)
        if table.names[:at] == ids.names[:-1] and len(target) == len(ids.axes) + len(table.axes) - at - 1:
            index = f"{ids.at(Level.ATOM)}[..., {', '.join(['None'] * (len(table.axes) - at - 1))}]"
            index = index if len(table.axes) > at + 1 else ids.text
            return replace(table, axes=target).with_text(f"torch.take_along_dim({table.text}, {index}, dim={at})")
        names = [a.name for a in target]
        table = layout.aligned(table, (*names, axis), complete=True)
        ids = layout.aligned(ids, names, complete=True)
        text = f"torch.take_along_dim({table.text}, {ids.at(Level.ATOM)}[..., None], dim=-1)[..., 0]"
        return replace(table.with_text(text), axes=target)

    return writer.fit(render, node.operands)


def _in_range(writer: Writer, value: Value) -> bool:
    """Whether indices are as they came: tokens, positions, what was the largest. Out of range they are an error, as
    everywhere in PyTorch; indices that were computed are clamped to the table, as the program says."""
    node = writer.graph[value]
    while node.op in ("rename", "expand"):
        node = writer.graph[node.operands[0]]
    return node.op in ("input", "position", "index", "ambient", "argmax")


# ------------------------------------------------------------------ changes of shape


def _rename(writer: Writer, node: Node) -> Expr:
    expr = writer.values[node.operands[0]]
    axes = tuple(node["to"] if a.name == node["axis"] else a for a in expr.axes)
    return replace(expr, axes=axes)


def _expand(writer: Writer, node: Node) -> Expr:
    return writer.values[node.operands[0]]


def _split(writer: Writer, node: Node) -> None:
    """Into named axes; parts that are all selected by number are taken apart at once."""

    def whole() -> Expr:
        expr = writer.shaped(node.operands[0])
        lengths = ", ".join(map(writer.size, node["into"]))
        dim = _dim(expr, node["axis"])
        return _method(expr, f".unflatten({dim}, ({lengths}))", _swapped(expr, node["axis"], node["into"]))

    selects = _selects(writer, node)
    if selects is None:
        writer.settle(node.values[0], writer.fit(whole, node.operands))
        return
    name, parts = selects
    if name == node["into"][0].name and len(node["into"]) == 2:
        expr = writer.shaped(node.operands[0])
        dim = _dim(expr, node["axis"])
        axes = _swapped(expr, node["axis"], node["into"][1:])
        text = f"{expr.at(Level.ATOM)}.chunk({len(parts)}, dim={dim})"
    else:
        expr = whole()
        axes = tuple(a for a in expr.axes if a.name != name)
        text = f"{expr.text}.unbind({_dim(expr, name)})"
    names = []
    for part in parts:
        names.append("_" if part is None else writer.scope.names.take(writer.spec_names.get(part) or "part"))
    writer.scope.line(f"{', '.join(names)} = {text}", (axes,))
    for part, variable in zip(parts, names, strict=True):
        if part is not None:
            writer.values[part] = replace(expr.with_text(variable), axes=axes)


def _selects(writer: Writer, node: Node) -> tuple[str, list[Value | None]] | None:
    """The axis and the node that selects each of its entries, if a split is only used by such nodes."""
    users = [writer.graph[u] for u, _ in writer.graph.users(node.values[0])]
    users = [u for u in users if u.values[0] in writer.uses]
    axes = {u["axis"] for u in users if u.op == "select"}
    if len(axes) != 1 or any(u.op != "select" for u in users) or node.values[0] in writer.graph.outputs:
        return None
    (name,) = axes
    axis = next((a for a in node["into"] if a.name == name), None)
    if axis is None or not axis.size.is_constant or axis.size.value > 8:
        return None
    parts: list[Value | None] = [None] * axis.size.value
    for user in users:
        parts[user["at"]] = user.values[0]
    return name, parts


def _select(writer: Writer, node: Node) -> Expr:
    if node.values[0] in writer.values:  # written together with its split
        return writer.values[node.values[0]]

    def render() -> Expr:
        expr = writer.values[node.operands[0]]
        if node["axis"] not in expr.names:
            return expr
        return _method(expr, _subscript(expr, node["axis"], str(node["at"])), _swapped(expr, node["axis"], ()))

    return writer.fit(render, node.operands)


@_one
def _merge(writer: Writer, node: Node, expr: Expr) -> Expr:
    merged = node["axes"]
    order = [m for n in expr.names for m in (merged if n == merged[0] else () if n in merged else (n,))]
    expr = layout.ordered(expr, order)
    at = expr.names.index(merged[0])
    axes = (*expr.axes[:at], node["into"], *expr.axes[at + len(merged) :])
    if len(merged) == 1:
        return replace(expr, axes=axes)
    return _method(expr, f".flatten({at}, {at + len(merged) - 1})", axes)


@_one
def _slice(writer: Writer, node: Node, expr: Expr) -> Expr:
    start, size = node["start"], node["to"].size
    if size.is_constant:
        entry = f"{start or ''}:{start + size.value}"
    else:
        entry = f"{start or ''}:{f'{start} + ' if start else ''}{writer.size(node['to'])}"
    return _method(expr, _subscript(expr, node["axis"], entry), _swapped(expr, node["axis"], (node["to"],)))


def _cat(writer: Writer, node: Node) -> Expr:
    """`concat` and `append`: tensors one after another along an axis."""
    along = node["axis"]

    def render() -> Expr:
        parts = _agreeing(writer, node.operands, along)
        precision = max(e.precision for e in parts)
        texts = ", ".join(e.text for e in parts) + ("," if len(parts) == 1 else "")
        text = f"torch.cat(({texts}), dim={_dim(parts[0], along)})"
        return Expr(text, Level.ATOM, _swapped(parts[0], along, (node["to"],)), precision)

    return writer.fit(render, node.operands)


def _agreeing(writer: Writer, values: Sequence[Value], along: str = "") -> list[Expr]:
    """Tensors with the same axes in the same order; those that none of them has are left out."""
    parts = [writer.values[v] for v in values]
    sets = {frozenset(e.names) for e in parts}
    if len(sets) > 1 or any(e.number is not None for e in parts) or (along and along not in parts[0].names):
        parts = [writer.shaped(v) for v in values]
    return [layout.ordered(writer.real(e), parts[0].names) for e in parts]


def _stack(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        parts = _agreeing(writer, node.operands)
        precision = max(e.precision for e in parts)
        text = f"torch.stack(({', '.join(e.text for e in parts)}{',' if len(parts) == 1 else ''}), dim=-1)"
        return Expr(text, Level.ATOM, (*parts[0].axes, node["axis"]), precision)

    return writer.fit(render, node.operands)


# ------------------------------------------------------------------ time


def _preceded(writer: Writer, node: Node, expr: Expr, zeros: int | str) -> str:
    """The tensor behind what was remembered, or behind zeros."""
    if len(node.operands) == 2:
        before = layout.ordered(writer.shaped(node.operands[1]), expr.names)
        return f"torch.cat(({before.text}, {expr.text}), dim={_dim(expr, node['axis'])})"
    return _padded(expr, node["axis"], f"{zeros}, 0")


def _padded(expr: Expr, axis: str, pads: str) -> str:
    after = len(expr.axes) - 1 - expr.names.index(axis)
    return f"F.pad({expr.text}, ({'0, 0, ' * after}{pads}))"


def _shift(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        expr, by = writer.shaped(node.operands[0]), node["by"]
        if by < 0:
            cut = _subscript(expr, node["axis"], f"{-by}:")
            return expr.with_text(f"{_padded(expr, node['axis'], f'0, {-by}')}{cut}")
        return expr.with_text(f"{_preceded(writer, node, expr, by)}{_subscript(expr, node['axis'], f':-{by}')}")

    return writer.fit(render, node.operands)


def _delays(writer: Writer, node: Node) -> Expr:
    def render() -> Expr:
        expr, to = writer.shaped(node.operands[0]), node["to"]
        width = writer.size(to)
        size = to.size
        before = writer.emission.blanks.mark(size.value - 1, "before") if size.is_constant else f"{width} - 1"
        text = f"{_preceded(writer, node, expr, before)}.unfold({expr.names.index(node['axis'])}, {width}, 1)"
        return replace(expr.with_text(text), axes=(*expr.axes, to))

    return writer.fit(render, node.operands)


@_one
def _cumsum(writer: Writer, node: Node, expr: Expr) -> Expr:
    return _method(expr, f".cumsum(dim={_dim(expr, node['axis'])})")


@_one
def _last(writer: Writer, node: Node, expr: Expr) -> Expr:
    size = node["to"].size
    if size.is_constant:
        entry = f"-{size.value}:" if size.value else ":0"
    else:
        entry = f"-{writer.length(size, node['axis']).at(Level.SIGN)}:"
    return _method(expr, _subscript(expr, node["axis"], entry), _swapped(expr, node["axis"], (node["to"],)))


SINGLE: Mapping[str, Callable[[Writer, Node], Expr]] = {
    "const": _const, "param": _param, "state": _state, "ambient": _ambient, "table": _table,
    "index": _arange, "position": _arange,
    "size": _size,
    "sum": _reduction("sum"), "mean": _reduction("mean"), "max": _max, "min": _reduction("amin"),
    "argmax": _argmax, "softmax": _softmax, "top": _top, "take": _take, "rename": _rename, "expand": _expand,
    "select": _select, "merge": _merge, "slice": _slice, "concat": _cat, "stack": _stack, "dot": dot, "cast": cast,
    "dropout": dropout, "shift": _shift, "delays": _delays, "cumsum": _cumsum, "append": _cat, "last": _last,
}
SEVERAL: Mapping[str, Callable[[Writer, Node], None]] = {"split": _split, "call": call, "repeat": repeat, "scan": scan}
