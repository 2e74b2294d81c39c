"""A `scan` as a loop over time: states are variables of the default dtype; what is yielded is stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ....lang.axes import Axis, TensorType
from ...ir.graph import Node, Value
from ...ir.module import Function
from . import layout
from .text import WIDEST, Expr, Level, Precision
from .writer import Writer


@dataclass
class _Loop:
    """One scan. `taken`: variables of a step; `sources`: what they run through; `narrow`: a tensor of activations."""

    writer: Writer
    node: Node
    body: Function
    inner: Writer
    taken: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    narrow: str | None = None

    @property
    def axis(self) -> Axis:
        axis: Axis = self.node["axis"]
        return axis

    def is_read(self, position: int) -> bool:
        return bool(self.inner.uses.get(self.body.input(position), 0))


def scan(writer: Writer, node: Node) -> None:
    """Write a loop over the scanned axis."""
    body = writer.emission.module.functions[node["body"]]
    loop = _Loop(writer, node, body, Writer(writer.scope, body, {}))
    count, last = node["states"], node["states"] + node["scanned"]
    for position in range(last, len(node.operands)):
        _seen(loop, position)
    states = [_state(loop, position) for position in range(count)]
    for position in range(count, last):
        _slices(loop, position)
    yields = [i for i in range(len(node.types) - count) if node.values[i] in writer.uses]
    lists = [writer.scope.names.take(_list_name(loop, i, len(yields))) for i in yields]
    for name in lists:
        writer.scope.line(f"{name} = []")
    _header(loop)
    writer.scope.indent += 1
    writer.scope.steps += 1
    loop.inner.run()
    writer.scope.steps -= 1
    made = _yielded(loop, body.graph.outputs[count:], list(zip(yields, lists, strict=True)))
    following = _next(loop, states)
    writer.scope.indent -= 1
    for i, name, expr in zip(yields, lists, made, strict=True):
        _stacked(loop, node.values[i], name, expr)
    for value, state, expr in zip(node.values[len(node.types) - count :], states, following, strict=True):
        writer.values[value] = Expr(state, Level.ATOM, writer.type(value).axes, expr.precision)


def _state(loop: _Loop, position: int) -> str:
    """The variable of a state, with its first value."""
    writer, value = loop.writer, loop.node.operands[position]
    name, type = loop.body.inputs[position]
    expr = layout.ordered(writer.real(writer.shaped(value)), writer.type(value).names)
    if type.dtype == "real" and expr.precision is not Precision.WIDE:
        expr = expr.with_text(f"{expr.at(Level.ATOM)}.to(torch.get_default_dtype())")
    variable = writer.scope.names.take(name, "state")
    writer.scope.line(f"{variable} = {expr.text}", (expr.axes,))
    precision = Precision.WIDE if type.dtype == "real" else Precision.WHOLE
    loop.inner.inputs[name] = Expr(variable, Level.ATOM, type.axes, precision)
    return variable


def _slices(loop: _Loop, position: int) -> None:
    """A tensor that is taken apart along the scanned axis."""
    writer, value = loop.writer, loop.node.operands[position]
    name, type = loop.body.inputs[position]
    if not loop.is_read(position):
        return
    source = writer.real(writer.assign(value, name))
    if loop.axis.name not in source.names:  # the same at every step
        loop.inner.inputs[name] = _renamed(source, writer.type(value).without(loop.axis.name), type)
        return
    variable = writer.scope.names.take(f"{name}_{loop.axis.name.lower()}", "x_t")
    loop.taken.append(variable)
    loop.sources.append(f"{source.at(Level.ATOM)}.unbind({source.names.index(loop.axis.name)})")
    if source.precision in (Precision.COMPUTE, Precision.PARAMETER):
        loop.narrow = loop.narrow or source.text
    rest = replace(source.with_text(variable), axes=tuple(a for a in source.axes if a.name != loop.axis.name))
    loop.inner.inputs[name] = _renamed(rest, writer.type(value).without(loop.axis.name), type)


def _seen(loop: _Loop, position: int) -> None:
    """A value that every step sees."""
    value, (name, type) = loop.node.operands[position], loop.body.inputs[position]
    if loop.is_read(position):
        expr = loop.writer.assign(value, name)
        loop.inner.inputs[name] = _renamed(expr, loop.writer.type(value), type)


def _renamed(expr: Expr, outer: TensorType, inner: TensorType) -> Expr:
    """A tensor of the caller under the body's names of its axes."""
    local = dict(zip(outer.names, inner.axes, strict=True))
    return replace(expr, axes=tuple(local[n] for n in expr.names))


def _list_name(loop: _Loop, i: int, count: int) -> str:
    name = loop.writer.spec_names.get(loop.node.values[i])
    return f"{name}s" if name and count == 1 else f"steps_{i}" if count > 1 else "steps"


def _header(loop: _Loop) -> None:
    scope = loop.writer.scope
    if not loop.taken:
        scope.line(f"for _ in range({loop.writer.size(loop.axis)}):")
        return
    variables = ", ".join(loop.taken)
    one = f"zip({', '.join(loop.sources)}, strict=True)" if len(loop.sources) > 1 else loop.sources[0]
    if len(variables) + len(one) + 4 * scope.indent + 9 <= WIDEST:
        scope.line(f"for {variables} in {one}:")
        return
    slices = scope.names.take("slices")
    scope.line(f"{slices} = zip(")
    scope.indent += 1
    for source in (*loop.sources, "strict=True"):
        scope.line(f"{source},")
    scope.indent -= 1
    scope.line(")")
    scope.line(f"for {variables} in {slices}:")


def _yielded(loop: _Loop, outputs: Sequence[Value], lists: list[tuple[int, str]]) -> list[Expr]:
    """Append what a step yields, before the states change."""
    made = []
    for i, name in lists:
        expr = layout.ordered(loop.inner.real(loop.inner.shaped(outputs[i])), loop.body.graph.type(outputs[i]).names)
        loop.writer.scope.line(f"{name}.append({expr.text})", (expr.axes,))
        made.append(expr)
    return made


def _next(loop: _Loop, states: list[str]) -> list[Expr]:
    """Give all states their next values at once."""
    following = []
    for value, (_, type) in zip(loop.body.graph.outputs, loop.body.inputs[: len(states)], strict=False):
        following.append(layout.ordered(loop.inner.real(loop.inner.shaped(value)), type.names))
    changed = [(s, e) for s, e in zip(states, following, strict=True) if s != e.text]
    if changed:
        text = f"{', '.join(s for s, _ in changed)} = {', '.join(e.text for _, e in changed)}"
        loop.writer.scope.line(text, tuple(e.axes for _, e in changed))
    return following


def _stacked(loop: _Loop, value: Value, name: str, expr: Expr) -> None:
    writer = loop.writer
    type = writer.type(value)
    text = f"torch.stack({name}, dim={type.index(loop.axis.name)})"
    precision = expr.precision
    if precision is Precision.WIDE and loop.narrow is not None:
        text, precision = f"{text}.to({loop.narrow}.dtype)", Precision.COMPUTE
    writer.values[value] = Expr(text, Level.ATOM, type.axes, precision)
    writer.assign(value)
