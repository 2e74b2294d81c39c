"""Calls: of a composite, of a small function (its body), of a function of the file, of a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....lang.axes import Axis
from ...ir.graph import Node, Value
from ...ir.module import Function, Module, Reference
from ...ir.needs import callees
from . import layout
from .composites import claim
from .emission import precision_of
from .masks import structure
from .method import Given, Method, ambient_rank
from .names import key_part
from .text import Expr, Level, Precision, literal
from .writer import Writer

# A body of at most this many operations is written where it is called; conditions (masks) may be a little longer.
TRIVIAL, CONDITION = 2, 4


# ------------------------------------------------------------------ calls


def call(writer: Writer, node: Node) -> None:
    """A call of a composite, of a small function (its body), of a function of the file, or of a method."""
    callee = writer.emission.module.functions[node["callee"]]
    if not node.values:
        _called(writer, node, callee)
        return
    claimed = claim(writer, node, callee)
    if claimed is not None:
        writer.settle(node.values[0], claimed)
    elif (reader := _reader(writer, node, callee)) is not None:
        writer.settle(node.values[0], reader)
    elif _is_trivial(callee) or _drops(writer.emission.module, callee):
        _inlined(writer, node, callee)
    else:
        _called(writer, node, callee)


def _reader(writer: Writer, node: Node, callee: Function) -> Expr | None:
    """A method that only reads a parameter is the parameter."""
    (output, *others) = callee.graph.outputs
    inner = callee.graph[output]
    if others or inner.op != "param" or node["instance"] is None or callee.states:
        return None
    axes = node.types[0].axes
    return Expr(f"{receiver(writer, node['instance'])}.{inner['name']}", Level.ATOM, axes, Precision.PARAMETER)


def _is_trivial(callee: Function) -> bool:
    """Whether a body is short and reads nothing of its instance."""
    count = 0
    for node in callee.graph.nodes():
        if node.op in ("param", "state", "repeat", "scan", "split", "dropout"):
            return False
        if node.op == "call" and node["instance"] is not None:
            return False
        count += node.op not in ("input", "const", "expand", "rename", "cast")
    is_condition = all(t.dtype == "bool" for t in callee.output_types)
    return count <= (CONDITION if is_condition else TRIVIAL) and not callee.states


def _drops(module: Module, callee: Function) -> bool:
    """Whether a fn draws dropout: its key belongs to the method that calls it, so its body has to be there."""
    nodes = () if callee.block else tuple(callee.graph.nodes())
    if any(n.op == "dropout" for n in nodes):
        return True
    return any(_drops(module, module.functions[c]) for n in nodes for c in callees(n))


def _inlined(writer: Writer, node: Node, callee: Function) -> None:
    inner = Writer(writer.scope, callee, {}, inline=True)
    for i in writer.emission.liveness.operands(writer.function, node):
        name, type = callee.inputs[i]
        value = callee.input(i)
        if inner.uses.get(value, 0) > 1:
            writer.assign(node.operands[i])
        expr = writer.values[node.operands[i]]
        local = dict(zip(writer.type(node.operands[i]).names, type.axes, strict=True))
        inner.inputs[name] = replace(expr, axes=tuple(local[n] for n in expr.names))
    results = inner.run()
    outer = _outer_axes(writer, node, callee)
    for value, expr, names in zip(node.values, results, outer, strict=True):
        writer.settle(value, replace(expr, axes=tuple(names[n] for n in expr.names)))


def _outer_axes(writer: Writer, node: Node, callee: Function) -> list[dict[str, Axis]]:
    """For each result: the callee's names of axes -> the caller's axes."""
    return [
        dict(zip(inner.names, outer.axes, strict=True))
        for inner, outer in zip(callee.output_types, node.types, strict=True)
    ]


def _called(writer: Writer, node: Node, callee: Function) -> None:
    module, live = writer.emission.module, writer.emission.liveness.operands(writer.function, node)
    given = [
        structure(module, writer.function, node, i) or (given_of(writer, v) if i in live else literal(0))
        for i, v in enumerate(node.operands)
    ]
    method = writer.emission.method(callee, given)
    hints = [callee.inputs[i][0] for i in method.kept]
    operands = [node.operands[i] for i in method.kept]
    function = method.name if method.is_free else _bound(writer, node["instance"], method)

    def render() -> Expr:
        arguments = [argument(writer, v).text for v in operands]
        arguments += extras(writer, [method], node["instance"], False, site_of(node))
        return Expr(f"{function}({', '.join(arguments)})", Level.ATOM)

    if node["instance"] is not None:
        writer.scope.method.calls.append((node["instance"], method))
    expr = writer.fit(render, operands, hints)
    if node.values:
        _results(writer, node, method, expr)
    else:
        writer.scope.line(expr.text)


def site_of(node: Node) -> str:
    """The name of a call among the states."""
    return key_part(node["site"], node.origin.first_span())


def given_of(writer: Writer, value: Value) -> Given:
    return precision_of(writer.real(writer.values[value]))


def argument(writer: Writer, value: Value) -> Expr:
    """An operand as callees expect it: with all its axes, in the order of its type."""
    return layout.ordered(writer.real(writer.shaped(value)), writer.type(value).names)


def receiver(writer: Writer, reference: Reference) -> str:
    """An instance as seen in this method."""
    if reference.up:
        return writer.outside(reference)
    return ".".join(("self", *reference.down))


def _bound(writer: Writer, reference: Reference | None, method: Method) -> str:
    base = "self" if reference is None else receiver(writer, reference)
    return base if method.name == "forward" and base != "self" else f"{base}.{method.name}"


def extras(
    writer: Writer, methods: Sequence[Method], reference: Reference | None, layer: bool, site: str
) -> list[str]:
    """The arguments behind the operands: instances from outside, ambient values, states and the path of the callee."""
    found = []
    base = reference or Reference()
    for inner in dict.fromkeys(r for m in methods for r in m.outside):
        found.append(receiver(writer, inner.seen_from(base, layer=layer)))
    needed = dict.fromkeys(a for m in methods for a in m.ambients)
    ambients = [a for m in methods for a in m.ordered_ambients() if a in needed]
    found += [writer.ambient(a) for a in sorted(dict.fromkeys(ambients), key=ambient_rank)]
    if any(m.stateful for m in methods):
        writer.scope.method.stateful = True
        found += ["states", writer.key(site)]
    return found


def _results(writer: Writer, node: Node, method: Method, expr: Expr) -> None:
    """Bind what a call returns."""
    outer = _outer_axes(writer, node, method.function)
    made = [
        replace(result, axes=tuple(names[n] for n in result.names))
        for result, names in zip(method.results, outer, strict=True)
    ]
    if len(made) == 1:
        (one,) = made
        writer.settle(node.values[0], one if one.number is not None else one.with_text(expr.text))
        return
    names = []
    for value, result in zip(node.values, made, strict=True):
        wanted = writer.spec_names.get(value) or _result_name(writer, method, value)
        name = writer.scope.names.take(wanted) if writer.uses.get(value, 0) else "_"
        writer.values[value] = result if result.number is not None else result.with_text(name)
        names.append(name)
    writer.scope.line(f"{', '.join(names)} = {expr.text}", tuple(e.axes for e in made))
    writer.scope.shaped += [(n, e.axes) for n, e in zip(names, made, strict=True) if n != "_"]


def _result_name(writer: Writer, method: Method, value: Value) -> str:
    name = method.function.outputs[value.index]
    return name.removeprefix("penalty.") if name.startswith("penalty.") else writer.default_name(value)


