"""Composites of quantized weights: bodies that say what the codes stand for."""

from __future__ import annotations

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.graph import Graph, Value
from ..ir.module import Function, Parameter
from ..ir.ops import build, constant
from ..ir.source import Outlying, Quantized
from ..ir.splice import fresh
from ..quantization.nf4 import LEVELS
from ..quantization.scheme import NF4, Grid, Grouped, PerColumn

LINEAR_GROUPED = "weft.quantized.linear_grouped"
LINEAR_COLUMNS = "weft.quantized.linear_columns"
LINEAR_OUTLIERS = "weft.quantized.linear_outliers"
LINEAR_NF4 = "weft.quantized.linear_nf4"
TAKE_GROUPED = "weft.quantized.take_grouped"


def linear(
    x: TensorType, k: Axis, n: Axis, parameters: tuple[Parameter, ...], scheme: Grid, activations: int
) -> Function:
    """x [.., K] times the matrix that codes and scales stand for."""
    graph = Graph()
    given = build(graph, "input", name="x", type=x)
    inputs, values = _inputs(graph, parameters, {*x.names, n.name})
    weight = _values(graph, values, scheme)
    axes = graph.type(weight).axes
    if isinstance(scheme, PerColumn):
        over, column = axes[:1], axes[1]
        given = build(graph, "rename", given, axis=k.name, to=over[0])
    else:
        column, over = axes[0], axes[1:]
        given = build(graph, "split", given, axis=k.name, into=over)
    few = "rows" in values
    main = build(graph, "mul", given, values["mask"]) if few else given
    y = build(graph, "dot", main, weight, over=tuple(a.name for a in over))
    if few:
        outlying = build(graph, "take", given, values["columns"], axis=over[0].name)
        c = graph.type(values["columns"]).names
        y = build(graph, "add", y, build(graph, "dot", outlying, values["rows"], over=c))
    wanted = (*(a for a in x.axes if a.name != k.name), column)
    if graph.type(y).axes != wanted:
        y = build(graph, "expand", y, axes=wanted)
    graph.outputs = (y,)
    definition = LINEAR_OUTLIERS if few else _DEFINITIONS[type(scheme)]
    return _function(definition, graph, (("x", x), *inputs), scheme, (("activations", activations),))


def take(ids: TensorType, width: Axis, parameters: tuple[Parameter, ...], scheme: Grouped) -> Function:
    """Rows of the table that codes and scales stand for."""
    graph = Graph()
    inputs, values = _inputs(graph, parameters, {*ids.names, width.name})
    given = build(graph, "input", name="ids", type=ids)
    rows = {part: build(graph, "take", v, given, axis=graph.type(v).names[0]) for part, v in values.items()}
    y = _values(graph, rows, scheme)
    groups = tuple(a.name for a in graph.type(rows["codes"]).axes if not ids.has(a.name))
    y = build(graph, "merge", y, axes=groups, into=width)
    if graph.type(y).axes != (*ids.axes, width):
        y = build(graph, "expand", y, axes=(*ids.axes, width))
    graph.outputs = (y,)
    return _function(TAKE_GROUPED, graph, (*inputs, ("ids", ids)), scheme)


_DEFINITIONS = {Grouped: LINEAR_GROUPED, PerColumn: LINEAR_COLUMNS, NF4: LINEAR_NF4}


def _inputs(
    graph: Graph, parameters: tuple[Parameter, ...], taken: set[str]
) -> tuple[tuple[tuple[str, TensorType], ...], dict[str, Value]]:
    """Inputs for codes, scales and what else there is, with names of axes that nothing else has."""
    names: dict[str, str] = {}
    inputs: list[tuple[str, TensorType]] = []
    values: dict[str, Value] = {}
    for parameter in parameters:
        source = parameter.source
        assert isinstance(source, Quantized | Outlying)
        for axis in parameter.type.axes:
            names.setdefault(axis.name, fresh(axis.name, taken))
        type = parameter.type.with_axes(tuple(Axis(names[a.name], a.size) for a in parameter.type.axes))
        inputs.append((source.part, type))
        values[source.part] = build(graph, "input", name=source.part, type=type)
    return tuple(inputs), values


def _values(graph: Graph, parts: dict[str, Value], scheme: Grid) -> Value:
    """(codes - zeros) * scales, or levels[codes] * scales, with the axes of the codes."""
    codes = parts["codes"]
    if isinstance(scheme, NF4):
        level = Axis(fresh("L", set(graph.type(codes).names)), Size.of(len(LEVELS)))
        levels = build(graph, "table", axis=level, values=tuple(float(v) for v in LEVELS))
        return build(graph, "mul", build(graph, "take", levels, codes, axis=level.name), parts["scales"])
    if isinstance(scheme, Grouped):
        zero = parts["zeros"] if "zeros" in parts else constant(graph, scheme.middle)
        codes = build(graph, "sub", codes, zero)
    return build(graph, "mul", build(graph, "cast", codes, dtype="real"), parts["scales"])


def _function(
    definition: str, graph: Graph, inputs: tuple[tuple[str, TensorType], ...], scheme: Grid,
    others: tuple[tuple[str, int], ...] = (),
) -> Function:
    method = definition.rpartition(".")[2]
    grouped: tuple[tuple[str, int], ...] = () if isinstance(scheme, PerColumn) else (("group", scheme.group),)
    bits = 4 if isinstance(scheme, NF4) else scheme.bits
    statics: tuple[tuple[str, int], ...] = (("bits", bits), *grouped, *others)
    return Function(method, graph, inputs, ("value",), "", method, definition, statics)
