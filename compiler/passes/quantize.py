"""Quantize: weights of products and tables become codes and scales, of composites that say what they stand for.

    linear_grouped(x, codes, scales[, zeros])    codes int[N, J, M]: N columns, J groups of M contracted entries
    linear_nf4(x, codes, scales)                 the same, with codes of levels
    linear_columns(x, codes, scales)             codes int[K, N]: one scale for each column
    linear_outliers(.., columns, rows, mask)     the same, and the outlying columns [C] of x times rows [C, N]
    take_grouped(codes, scales[, zeros], ids)    rows of a table, looked up

The bodies compute with the weights that the codes stand for. A kernel may round the other factor as well (`activations`
bits in the statics); that is a claim of its own, and measured as one. Weights in 16-bit floats stay parameters. Where
a choice balances a matrix, x is multiplied by one over the scales first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from math import prod

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.control import call
from ..ir.equality import install
from ..ir.graph import Node, Origin, Value
from ..ir.module import Function, Init, Module, Parameter, Path
from ..ir.ops import build
from ..ir.source import Balance, Balanced, Joined, Outlying, Quantized, Rest, Source, Stored, origins
from ..ir.splice import free_site, fresh
from ..quantization.scheme import NF4, Grid, Grouped, Half, PerColumn
from .choices import Choice, chosen
from .editing import closed, opened
from .new_parameters import free_name, with_parameters
from .products import Product, Read, instances_of, products, reads
from .quantized_bodies import (
    LINEAR_COLUMNS,
    LINEAR_GROUPED,
    LINEAR_NF4,
    LINEAR_OUTLIERS,
    TAKE_GROUPED,
    linear,
    take,
)

__all__ = [
    "LINEAR_COLUMNS", "LINEAR_GROUPED", "LINEAR_NF4", "LINEAR_OUTLIERS", "TAKE_GROUPED", "Choice", "Quantize", "chosen",
]


@dataclass(frozen=True)
class Quantize:
    """Store weights of products, and tables that are looked up, as the choices say."""

    choices: tuple[Choice, ...]
    name: str = "quantize"

    def run(self, module: Module) -> Module:
        functions, added = dict(module.functions), dict[str, tuple[Parameter, ...]]()
        names: Names = {}
        for name, paths in instances_of(module).items():
            change = _Change(module, functions, module.functions[name], paths, self.choices, names)
            changed = change.run()
            if change.added:
                functions[name], added[name] = changed, tuple(change.added.values())
        return with_parameters(replace(module, functions=functions), added)


# How the names of a quantized weight's parts begin, in the whole module: functions may run on one instance.
Names = dict[tuple[Source, str], str]


class _Change:
    """One function whose products are being replaced."""

    def __init__(
        self, module: Module, functions: dict[str, Function], function: Function, paths: tuple[Path, ...],
        choices: tuple[Choice, ...], names: Names,
    ) -> None:
        self.module, self.functions, self.function, self.paths, self.choices = (
            module, functions, function, paths, choices,
        )
        self.names = names
        self.graph = opened(function)
        self.sites = {n["site"] for n in self.graph.nodes() if n.op in ("call", "repeat")}
        self.added: dict[str, Parameter] = {}

    def run(self) -> Function:
        known = reads(self.module, self.function)
        multiplied = set()
        for product in products(self.module, self.function, shared=True):
            choice = self._choice(product.weight)
            rows = prod(a.size.value for a in product.over)
            if choice is not None and product.columns and _fits(choice.scheme, rows):
                self._product(product, choice)
                multiplied.add(product.weight.value)
        for node in list(self.graph.nodes()):
            if node.op == "take" and node.operands[0] in known:
                read = known[node.operands[0]]
                choice = self._choice(read)
                if choice is not None and isinstance(choice.scheme, Grouped):
                    shares = read.value in multiplied and choice.balance is None
                    plain = choice if shares else replace(choice, method="rtn", smooth=None)
                    self._lookup(node, read, choice.scheme, plain)
        for read in known.values():
            choice = self._choice(read)
            if choice is not None and isinstance(choice.scheme, Half):
                self._half(read, choice.scheme)
        return closed(self.function, self.graph)

    def _choice(self, read: Read) -> Choice | None:
        """What a weight is stored in, which must be the same on all instances that the function runs on."""
        found = {self._chosen(read, path) for path in self.paths}
        choice = found.pop() if len(found) == 1 else ""
        return None if isinstance(choice, str) else choice

    def _chosen(self, read: Read, base: Path) -> Choice | str:
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

    def _product(self, product: Product, choice: Choice) -> None:
        graph, node, scheme = self.graph, product.node, choice.scheme
        assert not isinstance(scheme, Half)
        rows, columns = (prod(a.size.value for a in axes) for axes in (product.over, product.columns))
        origin = Origin(None, "quantize", (node.origin,), node.origin.name)
        used = {n for v in (node.values[0], product.x) for n in graph.type(v).names}
        k, n = Axis(fresh("K", used), Size.of(rows)), Axis(fresh("N", used | {"K", "K_"}), Size.of(columns))
        x = product.x
        if len(product.over) > 1:
            x = build(graph, "merge", x, origin=origin, axes=tuple(a.name for a in product.over), into=k)
        else:
            k = product.over[0]
        source = self._matrix(product.weight, product.over, product.columns)
        base = self._base(product.weight, source, choice)
        if choice.balance is not None:
            scales = self._parameter(f"{base}_balance", TensorType((k,)), Balance(source, choice.balance), origin)
            read = build(graph, "param", origin=origin, name=scales.name, type=scales.type)
            x = build(graph, "mul", x, read, origin=origin)
            source = Balanced(source, choice.balance)
        parameters = self._parts(base, source, choice, scheme, rows, columns, origin)
        operands = tuple(build(graph, "param", origin=origin, name=p.name, type=p.type) for p in parameters)
        body = linear(graph.type(x), k, n, parameters, scheme, choice.activations)
        leading = tuple(a for a in graph.type(x).axes if a.name != k.name)
        (y,) = self._call(body, (x, *operands), TensorType((*leading, n)), node, origin)
        if len(product.columns) > 1:
            y = build(graph, "split", y, origin=origin, axis=n.name, into=product.columns)
        elif n != product.columns[0]:
            y = build(graph, "rename", y, origin=origin, axis=n.name, to=product.columns[0])
        if graph.type(y) != graph.type(node.values[0]):
            y = build(graph, "expand", y, origin=origin, axes=graph.type(node.values[0]).axes)
        graph.replace(node.values[0], y)

    def _lookup(self, node: Node, read: Read, scheme: Grouped, choice: Choice) -> None:
        graph, type = self.graph, self.graph.type(read.value)
        if len(type.axes) != 2 or type.names[0] != node["axis"]:
            return
        table, width = type.axes
        if not _fits(scheme, width.size.value):
            return
        origin = Origin(None, "quantize", (node.origin,), node.origin.name)
        source = self._matrix(read, (width,), (table,))
        base = self._base(read, source, choice)
        parameters = self._parts(base, source, choice, scheme, width.size.value, table.size.value, origin)
        operands = tuple(build(graph, "param", origin=origin, name=p.name, type=p.type) for p in parameters)
        body = take(graph.type(node.operands[1]), width, parameters, scheme)
        (y,) = self._call(body, (*operands, node.operands[1]), node.types[0], node, origin)
        graph.replace(node.values[0], y)

    def _half(self, read: Read, scheme: Half) -> None:
        """A weight as it is, in 16 bits."""
        type = self.graph.type(read.value)
        if type.dtype != "real":
            return
        origin = Origin(None, "quantize", (self.graph[read.value].origin,))
        whole = Stored(read.instance, read.name, tuple((i,) for i in range(len(type.axes))))
        source = self._source_of(read) or whole
        base = self._base(read, source, Choice((), scheme))
        parameter = self._parameter(f"{base}_values", type, Quantized(source, scheme, "values"), origin)
        value = build(self.graph, "param", origin=origin, name=parameter.name, type=type)
        self.graph.replace(read.value, value)

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

    def _base(self, read: Read, source: Source, choice: Choice) -> str:
        """How the names of the parts begin; all uses of one weight that store it alike share them."""
        key = (source, _word(choice))
        if key not in self.names:
            called = read.instance.down[-1] if read.instance.down else read.name
            wanted = f"{called}_{key[1]}"
            part = "values" if isinstance(choice.scheme, Half) else "codes"
            bases = (wanted if i == 1 else f"{wanted}_{i}" for i in count(1))
            taken = set(self.names.values())
            self.names[key] = next(b for b in bases if b not in taken and self._free(f"{b}_{part}"))
        return self.names[key]

    def _free(self, name: str) -> bool:
        return free_name(self.module, self.function.name, name, set()) == name

    def _parts(
        self, base: str, source: Source, choice: Choice, scheme: Grid, rows: int, columns: int, origin: Origin
    ) -> tuple[Parameter, ...]:
        """Codes, scales and what else there is, shared by all uses of one weight."""
        types = _types(scheme, rows, columns)
        whole = Rest(source, choice.outliers) if choice.outliers else source
        made: dict[str, Source] = {p: Quantized(whole, scheme, p, choice.rounding) for p in types}
        if choice.outliers:
            k, n = types["codes"].axes
            c = Axis("C", Size.of(choice.outliers))
            types |= {"columns": TensorType((c,), "int"), "rows": TensorType((c, n)), "mask": TensorType((k,))}
            made |= {p: Outlying(source, choice.outliers, p) for p in types if p not in made}
        return tuple(self._parameter(f"{base}_{part}", type, made[part], origin) for part, type in types.items())

    def _parameter(self, name: str, type: TensorType, source: Source, origin: Origin) -> Parameter:
        return self.added.setdefault(name, Parameter(name, type, Init("zeros"), origin, source))


def _fits(scheme: object, rows: int) -> bool:
    """Whether a matrix with so many rows can be stored so; groups end with its columns."""
    return isinstance(scheme, PerColumn) or (isinstance(scheme, Grouped | NF4) and rows % scheme.group == 0)


def _types(scheme: Grid, rows: int, columns: int) -> dict[str, TensorType]:
    """The parts of a matrix [rows, columns] and their types."""
    if isinstance(scheme, PerColumn):
        k, n = Axis("K", Size.of(rows)), Axis("N", Size.of(columns))
        return {"codes": TensorType((k, n), "int"), "scales": TensorType((n,))}
    n, j, m = (Axis(a, Size.of(s)) for a, s in (("N", columns), ("J", rows // scheme.group), ("M", scheme.group)))
    types = {"codes": TensorType((n, j, m), "int"), "scales": TensorType((n, j))}
    if isinstance(scheme, Grouped) and not scheme.symmetric:
        types["zeros"] = TensorType((n, j), "int")
    return types


def _merged(source: Source, over: int) -> Source:
    """A source of [contracted axes .., columns] as one of [contracted, columns]."""
    if isinstance(source, Joined):
        return Joined(tuple(_merged(part, over) for part in source.parts), 1)
    assert isinstance(source, Stored)
    return replace(source, dimensions=(tuple(i for g in source.dimensions[:over] for i in g), source.dimensions[-1]))


def _word(choice: Choice) -> str:
    """What the names of the parts say of how they are stored: two forms of one weight can lie side by side."""
    scheme = choice.scheme
    if isinstance(scheme, Half):
        return scheme.kind
    if isinstance(scheme, NF4):
        word = f"nf4g{scheme.group}{'d' if scheme.double else ''}"
    elif isinstance(scheme, Grouped):
        word = f"int{scheme.bits}g{scheme.group}{'' if scheme.symmetric else 'z'}"
    else:
        word = f"int{scheme.bits}"
    how = [choice.method] if choice.method != "rtn" else []
    how += ["smooth"] if choice.smooth is not None else []
    how += [f"outliers{choice.outliers}"] if choice.outliers else []
    return "_".join((word, *how))
