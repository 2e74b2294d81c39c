"""Quantize: weights of products and tables become codes and scales, of composites that say what they stand for.

    linear_grouped(x, codes, scales[, zeros])     codes int[N, J, M]: N columns, J groups of M contracted entries
    linear_columns(x, codes, scales)              codes int[K, N]: one scale for each column
    take_grouped(codes, scales[, zeros], ids)     rows of a table, looked up

The bodies compute with the weights that the codes stand for. A kernel may round the other factor as well (`activations`
bits in the statics); that is a claim of its own, and measured as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.control import call
from ..ir.equality import install
from ..ir.graph import Graph, Node, Origin, Value
from ..ir.module import Function, Init, Module, Parameter, Path
from ..ir.ops import build, constant
from ..ir.source import Joined, Quantized, Source, Stored, origins
from ..ir.splice import free_site, fresh
from ..quantization.scheme import Grouped, PerColumn, Scheme
from .editing import closed, opened
from .new_parameters import free_name, with_parameters
from .products import Product, Read, instances_of, products, reads

LINEAR_GROUPED = "weft.quantized.linear_grouped"
LINEAR_COLUMNS = "weft.quantized.linear_columns"
TAKE_GROUPED = "weft.quantized.take_grouped"


@dataclass(frozen=True)
class Choice:
    """Weights at these paths (layer numbers as `*`, everything below them) are stored in a scheme.

    `activations`: 8 lets a kernel round what they are multiplied with to 8 bits in groups, which is several times
    faster; 32 does not.
    """

    paths: tuple[str, ...]
    scheme: Scheme
    activations: int = 8


def chosen(choices: Sequence[Choice], path: Path) -> Scheme | str:
    """The scheme of the weight at a path, by the last choice that names it; "" for none."""
    plain = ".".join("*" if isinstance(part, int) else part for part in path)
    exact = ".".join(map(str, path))
    for choice in reversed(choices):
        if any(p == c or p.startswith(c + ".") for c in choice.paths for p in (plain, exact)):
            return choice.scheme
    return ""


@dataclass(frozen=True)
class Quantize:
    """Store weights of products, and tables that are looked up, as the choices say."""

    choices: tuple[Choice, ...]
    name: str = "quantize"

    def run(self, module: Module) -> Module:
        functions, added = dict(module.functions), dict[str, tuple[Parameter, ...]]()
        for name, paths in instances_of(module).items():
            change = _Change(module, functions, module.functions[name], paths, self.choices)
            changed = change.run()
            if change.added:
                functions[name], added[name] = changed, tuple(change.added.values())
        return with_parameters(replace(module, functions=functions), added)


class _Change:
    """One function whose products are being replaced."""

    def __init__(
        self, module: Module, functions: dict[str, Function], function: Function, paths: tuple[Path, ...],
        choices: tuple[Choice, ...],
    ) -> None:
        self.module, self.functions, self.function, self.paths, self.choices = (
            module, functions, function, paths, choices,
        )
        self.graph = opened(function)
        self.sites = {n["site"] for n in self.graph.nodes() if n.op in ("call", "repeat")}
        self.added: dict[str, Parameter] = {}
        self.names: dict[Source, str] = {}

    def run(self) -> Function:
        known = reads(self.module, self.function)
        for product in products(self.module, self.function, shared=True):
            scheme = self._scheme(product.weight)
            columns = prod(a.size.value for a in product.columns)
            rows = prod(a.size.value for a in product.over)
            if isinstance(scheme, Grouped) and product.columns and rows % scheme.group == 0:
                self._product(product, scheme, rows, columns)
            elif isinstance(scheme, PerColumn) and product.columns:
                self._product(product, scheme, rows, columns)
        for node in list(self.graph.nodes()):
            if node.op == "take" and node.operands[0] in known:
                read = known[node.operands[0]]
                scheme = self._scheme(read)
                if isinstance(scheme, Grouped):
                    self._lookup(node, read, scheme)
        return closed(self.function, self.graph)

    def _scheme(self, read: Read) -> Scheme | None:
        """The scheme of a weight, which must be the same on all instances that the function runs on."""
        found = {self._chosen(read, path) for path in self.paths}
        scheme = found.pop() if len(found) == 1 else ""
        return None if isinstance(scheme, str) else scheme

    def _chosen(self, read: Read, base: Path) -> Scheme | str:
        source = self._source_of(read)
        if source is None:
            return chosen(self.choices, read.path(base))
        found = {chosen(self.choices, part.path(base)) for part in origins(source)}
        return found.pop() if len(found) == 1 else ""

    def _source_of(self, read: Read) -> Source | None:
        """What a weight is made from, where it is made by a pass (then it lies with the function's own instance)."""
        parameters = dict(self.module.parameters())
        found = parameters.get(".".join(map(str, read.path(self.paths[0]))))
        return found.source if found else None

    # -------------------------------------------------------------- products

    def _product(self, product: Product, scheme: Grouped | PerColumn, rows: int, columns: int) -> None:
        graph, node = self.graph, product.node
        origin = Origin(None, "quantize", (node.origin,), node.origin.name)
        used = {n for v in (node.values[0], product.x) for n in graph.type(v).names}
        k, n = Axis(fresh("K", used), Size.of(rows)), Axis(fresh("N", used | {"K", "K_"}), Size.of(columns))
        x = product.x
        if len(product.over) > 1:
            x = build(graph, "merge", x, origin=origin, axes=tuple(a.name for a in product.over), into=k)
        else:
            k = product.over[0]
        source = self._matrix(product.weight, product.over, product.columns)
        parameters = self._parameters(product.weight, source, scheme, rows, columns, origin)
        operands = tuple(build(graph, "param", origin=origin, name=p.name, type=p.type) for p in parameters)
        definition = LINEAR_GROUPED if isinstance(scheme, Grouped) else LINEAR_COLUMNS
        body = _linear(graph.type(x), k, n, parameters, scheme, definition)
        leading = tuple(a for a in graph.type(x).axes if a.name != k.name)
        (y,) = self._call(body, (x, *operands), TensorType((*leading, n)), node, origin)
        if len(product.columns) > 1:
            y = build(graph, "split", y, origin=origin, axis=n.name, into=product.columns)
        elif n != product.columns[0]:
            y = build(graph, "rename", y, origin=origin, axis=n.name, to=product.columns[0])
        if graph.type(y) != graph.type(node.values[0]):
            y = build(graph, "expand", y, origin=origin, axes=graph.type(node.values[0]).axes)
        graph.replace(node.values[0], y)

    def _lookup(self, node: Node, read: Read, scheme: Grouped) -> None:
        graph, type = self.graph, self.graph.type(read.value)
        if len(type.axes) != 2 or type.names[0] != node["axis"]:
            return
        table, width = type.axes
        if width.size.value % scheme.group:
            return
        origin = Origin(None, "quantize", (node.origin,), node.origin.name)
        source = self._matrix(read, (width,), (table,))
        parameters = self._parameters(read, source, scheme, width.size.value, table.size.value, origin)
        operands = tuple(build(graph, "param", origin=origin, name=p.name, type=p.type) for p in parameters)
        body = _take(graph.type(node.operands[1]), width, parameters, scheme)
        (y,) = self._call(body, (*operands, node.operands[1]), node.types[0], node, origin)
        graph.replace(node.values[0], y)

    def _call(
        self, body: Function, operands: tuple[Value, ...], type: TensorType, node: Node, origin: Origin
    ) -> tuple[Value, ...]:
        name = install(self.functions, body)
        site = free_site(body.method, self.sites)
        self.sites.add(site)
        return call(self.graph, name, operands, (type,), site, None, origin)

    # -------------------------------------------------------------- parameters

    def _matrix(self, read: Read, over: tuple[Axis, ...], columns: tuple[Axis, ...]) -> Source:
        """The weight as a matrix [contracted, others]."""
        made = self._source_of(read)
        type = self.graph.type(read.value)
        if made is not None:
            return _merged(made, len(over))
        groups = tuple(tuple(type.index(a.name) for a in group) for group in (over, columns))
        return Stored(read.instance, read.name, groups)

    def _parameters(
        self, read: Read, source: Source, scheme: Grouped | PerColumn, rows: int, columns: int, origin: Origin
    ) -> tuple[Parameter, ...]:
        """Codes, scales and, where they are not all alike, zeros; shared by all uses of one weight."""
        base = self.names.get(source)
        if base is None:
            called = read.instance.down[-1] if read.instance.down else read.name
            wanted = f"{called}_{_word(scheme)}"
            base = free_name(self.module, self.function.name, wanted + "_codes", set(self.added)).removesuffix("_codes")
            self.names[source] = base
        if isinstance(scheme, Grouped):
            n, j, m = (Axis(a, Size.of(s)) for a, s in (("N", columns), ("J", rows // scheme.group), ("M", scheme.group)))
            types = {"codes": TensorType((n, j, m), "int"), "scales": TensorType((n, j))}
            if not scheme.symmetric:
                types["zeros"] = TensorType((n, j), "int")
        else:
            k, n = Axis("K", Size.of(rows)), Axis("N", Size.of(columns))
            types = {"codes": TensorType((k, n), "int"), "scales": TensorType((n,))}
        found = []
        for part, type in types.items():
            name = f"{base}_{part}"
            parameter = Parameter(name, type, Init("zeros"), origin, Quantized(source, scheme, part))
            self.added.setdefault(name, parameter)
            found.append(parameter)
        return tuple(found)


def _merged(source: Source, over: int) -> Source:
    """A source of [contracted axes .., columns] as one of [contracted, columns]."""
    if isinstance(source, Joined):
        return Joined(tuple(_merged(part, over) for part in source.parts), 1)
    assert isinstance(source, Stored)
    return replace(source, dimensions=(tuple(i for g in source.dimensions[:over] for i in g), source.dimensions[-1]))


def _word(scheme: Grouped | PerColumn) -> str:
    """What the names of codes and scales say of their scheme: two forms of one weight can lie side by side."""
    return f"int{scheme.bits}g{scheme.group}" if isinstance(scheme, Grouped) else "int8"


# ------------------------------------------------------------------ what the codes stand for


def _linear(
    x: TensorType, k: Axis, n: Axis, parameters: tuple[Parameter, ...], scheme: Grouped | PerColumn, definition: str
) -> Function:
    """x [.., K] times the matrix that codes and scales stand for."""
    graph = Graph()
    given = build(graph, "input", name="x", type=x)
    inputs, values = _inputs(graph, parameters, {*x.names, n.name})
    weight = _values(graph, values, scheme)
    axes = graph.type(weight).axes
    if isinstance(scheme, Grouped):
        column, over = axes[0], axes[1:]
        given = build(graph, "split", given, axis=k.name, into=over)
    else:
        over, column = axes[:1], axes[1]
        given = build(graph, "rename", given, axis=k.name, to=over[0])
    y = build(graph, "dot", given, weight, over=tuple(a.name for a in over))
    wanted = (*(a for a in x.axes if a.name != k.name), column)
    if graph.type(y).axes != wanted:
        y = build(graph, "expand", y, axes=wanted)
    graph.outputs = (y,)
    return _function(definition, graph, (("x", x), *inputs), scheme)


def _take(ids: TensorType, width: Axis, parameters: tuple[Parameter, ...], scheme: Grouped) -> Function:
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


def _inputs(
    graph: Graph, parameters: tuple[Parameter, ...], taken: set[str]
) -> tuple[tuple[tuple[str, TensorType], ...], dict[str, Value]]:
    """Inputs for codes, scales and zeros, with names of axes that nothing else has."""
    names: dict[str, str] = {}
    inputs: list[tuple[str, TensorType]] = []
    values: dict[str, Value] = {}
    for parameter in parameters:
        source = parameter.source
        assert isinstance(source, Quantized)
        for axis in parameter.type.axes:
            names.setdefault(axis.name, fresh(axis.name, taken))
        type = parameter.type.with_axes(tuple(Axis(names[a.name], a.size) for a in parameter.type.axes))
        inputs.append((source.part, type))
        values[source.part] = build(graph, "input", name=source.part, type=type)
    return tuple(inputs), values


def _values(graph: Graph, parts: dict[str, Value], scheme: Grouped | PerColumn) -> Value:
    """(codes - zeros) * scales, with the axes of the codes."""
    codes = parts["codes"]
    if isinstance(scheme, Grouped):
        zero = parts["zeros"] if "zeros" in parts else constant(graph, scheme.middle)
        codes = build(graph, "sub", codes, zero)
    return build(graph, "mul", build(graph, "cast", codes, dtype="real"), parts["scales"])


def _function(
    definition: str, graph: Graph, inputs: tuple[tuple[str, TensorType], ...], scheme: Grouped | PerColumn
) -> Function:
    method = definition.rpartition(".")[2]
    statics: tuple[tuple[str, int], ...] = (("bits", scheme.bits),) if isinstance(scheme, Grouped) else (("bits", 8),)
    if isinstance(scheme, Grouped):
        statics = (*statics, ("group", scheme.group))
    return Function(method, graph, inputs, ("value",), "", method, definition, statics)
