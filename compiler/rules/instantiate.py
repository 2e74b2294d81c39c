"""Templates made concrete: a function of a rule specialised to the types and numbers of one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...lang.axes import Axis, AxisError, TensorType
from ..ir.control import call
from ..ir.equality import install
from ..ir.graph import NOWHERE, Graph, Node, Origin, Value
from ..ir.module import Function
from ..ir.ops import build, constant
from ..ir.splice import AxisMap, Control, free_site, fresh, splice
from .binding import Binding, Constant, axis_map, match_type
from .match import axes_of
from .rule import Number, is_rest


def specialise(
    template: Function, types: tuple[TensorType | Number, ...], templates: Mapping[str, Function],
    functions: dict[str, Function], origin: Origin = NOWHERE,
) -> str:
    """Add the template for the given operands to `functions` and return its name there.

    A number in `types` makes that input a static argument; for a tensor it stands for all entries. Axes keep the
    template's names; those of a `..` keep the names they have in `types`. Functions that the template calls are found
    in `templates` and added too. Raises AxisError when the types do not fit.
    """
    binding = Binding()
    for (name, wanted), type in zip(template.inputs, types, strict=True):
        if isinstance(type, TensorType):
            found = next(match_type(wanted, type, binding, apart=False), None)
            if found is None:
                raise AxisError("missing", f"`{name}` of `{template.name}` is {wanted}, not {type}")
            binding = found
    axes = _local(binding, axes_of(template))
    graph = Graph()
    inputs: list[tuple[str, TensorType]] = []
    operands: list[Value] = []
    statics = list(template.statics)
    for (name, wanted), type in zip(template.inputs, types, strict=True):
        if isinstance(type, TensorType):
            inputs.append((name, axes.type(wanted)))
            operands.append(build(graph, "input", name=name, type=axes.type(wanted)))
        else:
            number = float(type) if wanted.dtype == "real" else type
            statics.append((name, number))
            operands.append(constant(graph, number, origin))
    calls = specialising_calls(axes, templates, functions, set(), origin)
    graph.outputs = splice(graph, template, tuple(operands), axes, lambda node: node.origin, calls)
    return install(functions, replace(template, graph=graph, inputs=tuple(inputs), statics=tuple(statics)))


def specialising_calls(
    axes: AxisMap, templates: Mapping[str, Function], functions: dict[str, Function], sites: set[str], origin: Origin
) -> Control:
    """How `splice` adds a call of a template: the callee is specialised to the operands it gets here."""

    def add(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        template = templates[node["callee"]]
        given: list[TensorType | Number] = []
        values: list[Value] = []
        for (_, wanted), operand in zip(template.inputs, operands, strict=True):
            source = graph[operand]
            if source.op == "const" and not source.types[0].axes and not any(is_rest(a.name) for a in wanted.axes):
                given.append(source["value"])
            else:
                given.append(graph.type(operand))
                values.append(operand)
        name = specialise(template, tuple(given), templates, functions, origin)
        types = tuple(axes.type(t) for t in node.types)
        site = free_site(node["site"], sites)
        sites.add(site)
        return call(graph, name, tuple(values), types, site, None, node.origin if origin == NOWHERE else origin)

    return add


def replacement_axes(binding: Binding, before: Function, after: Function) -> AxisMap | None:
    """The map for the side that is put in: axes that only it has get names that are free here."""
    axes = axis_map(binding, axes_of(before))
    if axes is None:
        return None
    names, taken = dict(axes.names), binding.taken()
    for name in axes_of(after):
        if name not in names and not is_rest(name):
            names[name] = fresh(name, taken)
            taken.add(names[name])
    return replace(axes, names=names)


def operand(graph: Graph, bound: Value | Constant, origin: Origin) -> Value:
    """What a variable stands for, as a value of the graph."""
    return constant(graph, bound.number, origin) if isinstance(bound, Constant) else bound


def _local(binding: Binding, template: Mapping[str, Axis]) -> AxisMap:
    """Sizes of the place, names of the template; those of a `..` are its own unless the template uses them."""
    axes = axis_map(binding, template)
    if axes is None:
        raise AxisError("size", "one size of the template would be two sizes")
    reserved = {name for name in template if not is_rest(name)}
    renamed: dict[str, str] = {}
    rests = {}
    for rest, members in axes.rests.items():
        for axis in members:
            if axis.name not in renamed:
                renamed[axis.name] = fresh(axis.name, reserved | set(renamed.values()))
        rests[rest] = tuple(Axis(renamed[a.name], a.size) for a in members)
    return AxisMap({}, rests, axes.sizes)


