"""The body of one function while it is built: its graph, the axes it knows, and what it gathers on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ...lang import errors
from ...lang.axes import Axis, AxisError, TensorType
from ...lang.diagnostics import Diagnostic, Label, WeftError
from ...lang.source import Span
from ..ir import ops
from ..ir.graph import Graph, Origin, Value
from . import limits
from .signature import Binding
from .values import Placed, Tensor

_AXIS_ERRORS = {
    "missing": errors.not_an_axis,
    "size": errors.sizes_differ,
    "dtype": errors.wrong_dtype,
    "twice": errors.axis_twice,
    "count": errors.number_out_of_range,
}


class Undecided(Exception):
    """Two sizes of a block checked by itself differ as written; only numbers can tell whether they agree."""


def axis_diagnostic(error: AxisError, span: Span, operands: tuple[Tensor, ...]) -> Diagnostic:
    """An AxisError as a diagnostic that points at the operation and shows the types of its operands."""
    labels = []
    span = operation_span(span, operands)
    for position in error.operands or range(len(operands)):
        if position < len(operands) and operands[position].span != span:
            operand = operands[position]
            labels.append(Label(operand.span, f"this is {operand.type}"))
    help = error.help
    if error.kind == "dtype" and not help and any(o.type.dtype == "bool" for o in operands):
        help = "`real(..)` makes 1.0 of true and 0.0 of false"
    return _AXIS_ERRORS[error.kind](error.message, span, tuple(labels), help)


def operation_span(span: Span, operands: tuple[Tensor, ...]) -> Span:
    """The operator or the function's name inside an expression, so that carets do not cover its operands."""
    inside = [
        o.span
        for o in operands
        if o.span.source == span.source and span.start <= o.span.start <= o.span.end <= span.end
    ]
    if len(inside) == 2 and inside[0].end <= inside[1].start:
        between = span.source.text[inside[0].end : inside[1].start]
        found = re.fullmatch(r"[\s)]*([-+*/%^<>=!]+|and|or|\|>)[\s(]*", between)
        if found:
            return Span(span.source, inside[0].end + found.start(1), inside[0].end + found.end(1))
    if len(inside) == 1:
        sign = re.fullmatch(r"(not|-)[\s(]*", span.source.text[span.start : inside[0].start])
        if sign:
            return Span(span.source, span.start, span.start + sign.end(1))
    called = re.match(r"[A-Za-z_.][\w.]*(?=\()", span.text)
    if called and all(span.start + called.end() <= s.start for s in inside):
        return Span(span.source, span.start, span.start + called.end())
    return span


@dataclass(eq=False)
class Body:
    """A function under construction. `outer` is the function around a scan's body."""

    placed: Placed | None
    binding: Binding = field(default_factory=Binding)
    graph: Graph = field(default_factory=Graph)
    known: dict[str, Axis] = field(default_factory=dict)
    inputs: list[tuple[str, TensorType]] = field(default_factory=list)
    penalties: dict[str, list[Value]] = field(default_factory=dict)
    outer: Body | None = None
    scanned: Axis | None = None
    captured: dict[tuple[Value, Span], Tensor] = field(default_factory=dict)
    slices: list[tuple[Tensor, str]] = field(default_factory=list)
    invariants: list[tuple[Tensor, str]] = field(default_factory=list)
    sites: dict[str, int] = field(default_factory=dict)
    symbolic: bool = False

    def tensor(self, value: Value, span: Span) -> Tensor:
        type = self.graph.type(value)
        for axis in type.axes:
            self.known.setdefault(axis.name, axis)
        return Tensor(value, type, span, self)

    def op(self, name: str, operands: tuple[Tensor, ...], span: Span, /, **attributes: Any) -> Tensor:
        """Add a primitive; an axis error becomes a diagnostic at `span`."""
        values = tuple(t.value for t in operands)
        try:
            value = ops.build(self.graph, name, *values, origin=Origin(span), **attributes)
        except AxisError as error:
            if self.symbolic and error.kind == "size":
                raise Undecided from error
            raise WeftError(axis_diagnostic(error, span, operands)) from error
        for axis in self.graph.type(value).axes:
            if len(axis.size.terms) > limits.TERMS:
                raise WeftError(
                    errors.too_large(f"the size of `{axis.name}`", f"a sum of {limits.TERMS} products", span)
                )
        return self.tensor(value, span)

    def constant(self, number: bool | int | float, span: Span) -> Tensor:
        return self.tensor(ops.constant(self.graph, number, Origin(span)), span)

    def input(self, name: str, type: TensorType, span: Span) -> Tensor:
        self.inputs.append((name, type))
        (value,) = self.graph.add("input", (), (type,), Origin(span, name=name), name=name, type=type)
        return self.tensor(value, span)

    def name(self, tensor: Tensor, name: str) -> None:
        """Remember the spec's name of a value, for states and for emitted code."""
        node = self.graph[tensor.value]
        if not node.origin.name:
            self.graph.nx.nodes[node.id]["node"] = replace(node, origin=replace(node.origin, name=name))

    def site(self, name: str) -> str:
        """A name for a call, unique in this function."""
        count = self.sites[name] = self.sites.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def capture(self, tensor: Tensor) -> Tensor:
        """A tensor of the function around this scan, as an input of the scan's body: a slice if it is scanned over."""
        if tensor.body is self or self.outer is None or self.scanned is None:
            return tensor
        if tensor.body is not self.outer:
            tensor = self.outer.capture(tensor)
        key = (tensor.value, tensor.span)
        if key not in self.captured:
            origin = self.outer.graph[tensor.value].origin
            sliced = tensor.type.has(self.scanned.name)
            taken = {n for n, _ in self.inputs}
            name = base = origin.name or f"x{len(self.inputs)}"
            while name in taken:
                name = f"{base}{len(taken)}"
                base += "_"
            type = tensor.type.without(self.scanned.name) if sliced else tensor.type
            self.captured[key] = self.input(name, type, tensor.span)
            (self.slices if sliced else self.invariants).append((tensor, name))
        return self.captured[key]
