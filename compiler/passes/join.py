"""Join: products of one value with several weights become one product with the weights side by side.

Queries, keys and values of attention and the two sides of a gated MLP are made by one larger product each. The new
weight lies with the instance that the function runs on, and its source says what it is made of.

Before:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      param gate: [D:4, F:6] = normal(std=0.02)
      param up: [D:4, F:6] = normal(std=0.02)
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = param(name=gate): [D:4, F:6]
      %2 = dot(%x, %1, over=(D,)): [B, F:6]
      %3 = param(name=up): [D:4, F:6]
      %4 = dot(%x, %3, over=(D,)): [B, F:6]
      %5 = mul(%2, %4): [B, F:6]
      return %5
    }

After:

    module Demo (form=full, entry=Demo.forward)

    instance Demo {
      param gate: [D:4, F:6] = normal(std=0.02)
      param up: [D:4, F:6] = normal(std=0.02)
      param gate_up: [D:4, N:12] = zeros() from joined(parts=(stored(instance=@, name=gate, dimensions=((0,), (1,))), stored(instance=@, name=up, dimensions=((0,), (1,)))), axis=1)
    }

    function Demo.forward(x: [B, D:4]) -> (value: [B, F:6]) {
      block Demo
      %1 = param(name=gate_up): [D:4, N:12]
      %2 = dot(%x, %1, over=(D,)): [B, N:12]
      %3 = slice(%2, axis=N, start=0, to=<F:6>): [B, F:6]
      %4 = slice(%2, axis=N, start=6, to=<F:6>): [B, F:6]
      %5 = mul(%3, %4): [B, F:6]
      return %5
    }
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.graph import Graph, Origin, Value
from ..ir.module import Function, Init, Module, Parameter, Path
from ..ir.ops import build
from ..ir.source import Joined
from ..ir.splice import fresh
from .editing import closed, opened
from .new_parameters import free_name, with_parameters
from .products import Product, instances_of, products

# What weights have to agree in to be joined, by their path; None for one that stays alone.
Kind = Callable[[Path], object]


@dataclass(frozen=True)
class Join:
    """Join the products of one value. `kind` says which weights may lie in one matrix: those of one kind.

    `narrow` leaves out those that are wider than what they are made of: cutting a wide result apart costs as much as
    joining saves (measured on the two sides of a gate: none to 9 % of the time of a token on one machine).
    """

    kind: Kind = lambda path: ""
    narrow: bool = False
    name: str = "join"

    def run(self, module: Module) -> Module:
        functions, added = dict(module.functions), dict[str, tuple[Parameter, ...]]()
        taken: set[str] = set()
        for name, paths in instances_of(module).items():
            function = module.functions[name]
            groups = [g for g in _groups(module, function, self, paths) if len(g) > 1]
            if groups:
                functions[name], added[name] = _joined(module, function, groups, taken)
        changed = replace(module, functions=functions)
        return with_parameters(changed, added)


def _groups(module: Module, function: Function, how: Join, paths: tuple[Path, ...]) -> list[list[Product]]:
    """Products of one value over the same axes in the same order, whose weights are of one kind everywhere."""
    found: dict[object, list[Product]] = {}
    for product in products(module, function):
        kinds = tuple(how.kind(product.weight.path(path)) for path in paths)
        made, of = (prod(a.size.value for a in axes) for axes in (product.columns, product.over))
        if None not in kinds and not (how.narrow and made > of):
            found.setdefault((product.x, product.over, kinds), []).append(product)
    return list(found.values())


def _joined(
    module: Module, function: Function, groups: list[list[Product]], taken: set[str]
) -> tuple[Function, tuple[Parameter, ...]]:
    """The function with its groups joined; `taken` are names that others have, which may run on the same instance."""
    graph, added = opened(function), list[Parameter]()
    for group in groups:
        name = free_name(module, function.name, "_".join(_called(p) for p in group), taken)
        taken.add(name)
        over, used = group[0].over, {n for p in group for n in graph.type(p.node.values[0]).names}
        widths = [prod(a.size.value for a in p.columns) for p in group]
        column = Axis(fresh("N", used | {a.name for a in over}), Size.of(sum(widths)))
        type = TensorType((*over, column))
        parts = tuple(p.stored(function, *((a,) for a in over), p.columns) for p in group)
        origin = Origin(None, "join", tuple(dict.fromkeys(p.node.origin for p in group)))
        added.append(Parameter(name, type, Init("zeros"), origin, Joined(parts, len(over))))
        weight = build(graph, "param", origin=origin, name=name, type=type)
        whole = build(graph, "dot", group[0].x, weight, origin=origin, over=tuple(a.name for a in over))
        start = 0
        for product, width in zip(group, widths, strict=True):
            part = _part(graph, whole, column, start, width, product, origin)
            graph.replace(product.node.values[0], part)
            start += width
    return closed(function, graph), tuple(added)


def _called(product: Product) -> str:
    """`q` for the weight of an instance q, `gate` for a parameter gate of the function's own instance."""
    return product.weight.instance.down[-1] if product.weight.instance.down else product.weight.name


def _part(
    graph: Graph, whole: Value, column: Axis, start: int, width: int, product: Product, origin: Origin
) -> Value:
    """One product cut out of the joined one, with the axes it had in the order it had them."""
    wanted = graph.type(product.node.values[0])
    if len(product.columns) == 1:
        part = build(graph, "slice", whole, origin=origin, axis=column.name, start=start, to=product.columns[0])
    else:
        merged = Axis(fresh("M", set(graph.type(whole).names) | set(wanted.names)), Size.of(width))
        part = build(graph, "slice", whole, origin=origin, axis=column.name, start=start, to=merged)
        part = build(graph, "split", part, origin=origin, axis=merged.name, into=product.columns)
    if graph.type(part) != wanted:
        part = build(graph, "expand", part, origin=origin, axes=wanted.axes)
    return part
