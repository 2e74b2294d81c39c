"""Calls, layers and recurrences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ....lang import errors
from ....lang.axes import Axis, TensorType
from ....lang.diagnostics import WeftError
from ...ir.graph import Node, Value
from ...ir.module import Function, Reference
from . import layout
from .emission import precision_of
from .masks import structure
from .method import AMBIENT_ORDER, Given, Method
from .text import Expr, Level, Precision, literal
from .writer import Writer

# A body of at most this many operations is written where it is called.
TRIVIAL = 2

SAFE_SITE = re.compile(r"[A-Za-z0-9_.]+\Z")


# ------------------------------------------------------------------ calls


def call(writer: Writer, node: Node) -> None:
    """A call of a composite, of a small function (its body), of a function of the file, or of a method."""
    from .composites import claim

    callee = writer.emission.module.functions[node["callee"]]
    claimed = claim(writer, node, callee)
    if claimed is not None:
        writer.settle(node.values[0], claimed)
    elif (reader := _reader(writer, node, callee)) is not None:
        writer.settle(node.values[0], reader)
    elif _is_trivial(callee):
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
        if node.op in ("param", "state", "repeat", "scan", "split", "dropout") or (node.op == "call" and node["instance"] is not None):
            return False
        count += node.op not in ("input", "const", "expand", "rename", "cast")
    return count <= TRIVIAL and not callee.states


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
        structure(module, writer.function, node, i) or (_given(writer, v) if i in live else literal(0))
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
    _results(writer, node, method, expr)


def site_of(node: Node) -> str:
    """The name of a call among the states."""
    if SAFE_SITE.match(node["site"]) is None:
        raise WeftError(errors.not_in_torch(f"the name {node['site']!r}", "it holds unusual characters", node.origin.first_span()))
    return str(node["site"])


def _given(writer: Writer, value: Value) -> Given:
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
    found += [writer.ambient(a) for a in sorted(dict.fromkeys(ambients), key=_ambient_rank)]
    if any(m.stateful for m in methods):
        writer.scope.method.stateful = True
        found += ["states", writer.key(site)]
    return found


def _ambient_rank(name: str) -> int:
    return AMBIENT_ORDER.index(name)


def _results(writer: Writer, node: Node, method: Method, expr: Expr) -> None:
    """Bind what a call returns."""
    outer = _outer_axes(writer, node, method.function)
    made = [
        replace(result, axes=tuple(names[n] for n in result.names)) for result, names in zip(method.results, outer, strict=True)
    ]
    if len(made) == 1:
        writer.settle(node.values[0], made[0] if made[0].number is not None else replace(made[0], text=expr.text, level=expr.level))
        return
    names = []
    for value, result in zip(node.values, made, strict=True):
        used = writer.uses.get(value, 0)
        name = writer.scope.names.take(writer.spec_names.get(value) or _result_name(writer, method, value)) if used else "_"
        writer.values[value] = result if result.number is not None else result.with_text(name)
        names.append(name)
    writer.scope.line(f"{', '.join(names)} = {expr.text}", tuple(e.axes for e in made))
    writer.scope.shaped += [(n, e.axes) for n, e in zip(names, made, strict=True) if n != "_"]


def _result_name(writer: Writer, method: Method, value: Value) -> str:
    name = method.function.outputs[value.index]
    return name.removeprefix("penalty.") if name.startswith("penalty.") else writer.default_name(value)


# ------------------------------------------------------------------ layers


def repeat(writer: Writer, node: Node) -> None:
    """A loop over the layers: the same variables go in and come out."""
    functions = [writer.emission.module.functions[b] for b in node["bodies"]]
    count, sums = node["carried"], node["sums"]
    given = [g if not isinstance(g, Expr) else _filled_precision(writer, v) for g, v in _operand_facts(writer, node)]
    methods = tuple(writer.emission.method(f, given) for f in functions)
    _same_interface(methods)
    reference: Reference = node["instance"]
    writer.scope.method.layers.append((reference, methods))

    carried = [_carried_variable(writer, node, i, functions[0]) for i in range(count)]
    seen = [argument(writer, v) for v in node.operands[count:]]
    totals = [writer.scope.names.take(functions[0].outputs[count + i].removeprefix("penalty."), "total") for i in range(sums)]
    for total in totals:
        writer.scope.line(f"{total} = 0.0")
    layer = writer.scope.names.take(identifier_of(methods[0].function.block), "layer")
    numbered = any(m.stateful for m in methods)
    number = writer.scope.names.take("i") if numbered else ""
    where = receiver(writer, reference)
    site = f"{site_of(node)}.{{{number}}}" if numbered else site_of(node)
    arguments = [*carried, *(e.text for e in seen), *extras(writer, methods, reference, True, site)]
    called = layer if methods[0].name == "forward" else f"{layer}.{methods[0].name}"
    parts = [writer.scope.names.take(f"{t}_part") for t in totals]
    header = f"for {number}, {layer} in enumerate({where}):" if numbered else f"for {layer} in {where}:"
    writer.scope.line(header)
    writer.scope.indent += 1
    axes = [t.axes for t in node.types]
    writer.scope.line(f"{', '.join((*carried, *parts))} = {called}({', '.join(arguments)})", axes)
    for total, part in zip(totals, parts, strict=True):
        writer.scope.line(f"{total} = {total} + {part}")
    writer.scope.indent -= 1
    for i, value in enumerate(node.values):
        precision = max(m.results[i].precision for m in methods)
        writer.values[value] = Expr((*carried, *totals)[i], Level.ATOM, axes[i], precision)
    writer.scope.shaped += list(zip(carried, axes, strict=False))


def identifier_of(block: str) -> str:
    """A variable for one layer: `block` for `Block`."""
    last = block.rsplit(".", 1)[-1]
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", last).lower() or "layer"


def _operand_facts(writer: Writer, node: Node) -> list[tuple[Given, Value]]:
    return [(_given(writer, v), v) for v in node.operands]


def _filled_precision(writer: Writer, value: Value) -> Precision:
    return Precision.WIDE if writer.type(value).dtype == "real" else Precision.WHOLE


def _same_interface(methods: tuple[Method, ...]) -> None:
    """Layers that differ are called alike: what one of them needs, all of them take."""
    for method in methods:
        for other in methods:
            for reference, name in other.outside.items():
                method.outside.setdefault(reference, name)
            for ambient, name in other.ambients.items():
                method.ambients.setdefault(ambient, name)
            method.stateful = method.stateful or other.stateful
    order = list(methods[0].outside)
    for method in methods:
        method.outside = {r: method.outside[r] for r in order}


def _carried_variable(writer: Writer, node: Node, position: int, body: Function) -> str:
    """The variable that goes through the layers: that of the operand, if nothing else reads it."""
    value = node.operands[position]
    expr = writer.values[value]
    ready = argument(writer, value)
    own = expr.is_simple and "." not in expr.text and expr.number is None and ready == expr
    if own and writer.uses.get(value, 0) == 1 and value not in node.operands[node["carried"] :]:
        return expr.text
    name = writer.scope.names.take(writer.spec_names.get(node.values[position]) or body.inputs[position][0], "x")
    writer.scope.line(f"{name} = {ready.text}", (ready.axes,))
    writer.scope.shaped.append((name, ready.axes))
    return name


# ------------------------------------------------------------------ recurrences


def scan(writer: Writer, node: Node) -> None:
    """A loop over time: the states are variables, accumulated in the default dtype; what is yielded is stacked."""
    body = writer.emission.module.functions[node["body"]]
    count, last = node["states"], node["states"] + node["scanned"]
    axis: Axis = node["axis"]
    names = writer.scope.names
    for value in node.operands[last:]:
        writer.assign(value)
    inner = Writer(writer.scope, body, {}, inline=True)
    inner.inline = False
    live = [i for i, (name, _) in enumerate(body.inputs) if inner.uses.get(body.input(i), 0) or i < count]

    states = [_state(writer, node, body, i) for i in range(count)]
    for name, (given, _) in zip(states, body.inputs, strict=False):
        inner.inputs[given] = Expr(name, Level.ATOM, body.inputs[states.index(name)][1].axes, _state_precision(body, states.index(name)))
    taken, sources = [], []
    narrow = None
    for i in range(count, last):
        value, (name, type) = node.operands[i], body.inputs[i]
        if i not in live:
            continue
        source = writer.real(writer.values[value])
        if axis.name not in source.names:  # the same at every step
            inner.inputs[name] = _renamed(writer.assign(value) if not source.is_simple else source, writer.type(value), axis, type.axes)
            continue
        if not source.is_simple:
            source = writer.real(writer.assign(value, name))
        variable = names.take(f"{name}_{axis.name.lower()}", "x_t")
        at = source.names.index(axis.name)
        taken.append(variable)
        sources.append(f"{source.text}.unbind({at})")
        if source.precision in (Precision.COMPUTE, Precision.PARAMETER):
            narrow = narrow or source.text
        rest = replace(source.with_text(variable), axes=tuple(a for a in source.axes if a.name != axis.name))
        inner.inputs[name] = _renamed(rest, writer.type(value), axis, type.axes)
    for i in range(last, len(node.operands)):
        name, type = body.inputs[i]
        if i in live:
            inner.inputs[name] = _renamed(writer.values[node.operands[i]], writer.type(node.operands[i]), None, type.axes)

    yields = [i for i in range(len(node.types) - count) if node.values[i] in writer.uses]
    lists = [names.take(_yield_name(writer, node, i, len(yields))) for i in yields]
    for name in lists:
        writer.scope.line(f"{name} = []")
    _header(writer, taken, sources, axis)
    writer.scope.indent += 1
    results = inner.run()
    made = []
    for name, i in zip(lists, yields, strict=True):
        value = body.graph.outputs[count + i]
        expr = layout.ordered(inner.shaped(value), body.graph.type(value).names)
        made.append(expr)
        writer.scope.line(f"{name}.append({expr.text})", (expr.axes,))
    following = [layout.ordered(inner.shaped(v), t.names) for v, (_, t) in zip(body.graph.outputs[:count], body.inputs, strict=False)]
    changed = [(s, e) for s, e in zip(states, following, strict=True) if s != e.text]
    if changed:
        shapes = [e.axes for _, e in changed]
        writer.scope.line(f"{', '.join(s for s, _ in changed)} = {', '.join(e.text for _, e in changed)}", shapes)
    writer.scope.indent -= 1
    del results
    _stacked(writer, node, axis, list(zip(yields, lists, made, strict=True)), narrow)
    for i, (state, expr) in enumerate(zip(states, following, strict=True)):
        value = node.values[len(node.types) - count + i]
        writer.values[value] = Expr(state, Level.ATOM, writer.type(value).axes, expr.precision)


def _header(writer: Writer, taken: list[str], sources: list[str], axis: Axis) -> None:
    if not taken:
        writer.scope.line(f"for _ in range({writer.size(axis)}):")
    elif len(taken) == 1:
        writer.scope.line(f"for {taken[0]} in {sources[0]}:")
    else:
        text = f"for {', '.join(taken)} in zip({', '.join(sources)}, strict=True):"
        if len(text) + 4 * writer.scope.indent <= 116:
            writer.scope.line(text)
            return
        steps = writer.scope.names.take("steps")
        writer.scope.line(f"{steps} = zip(")
        for source in sources:
            writer.scope.method.lines.append(replace(writer.scope.method.lines[-1], text=f"    {source},"))
        writer.scope.line("    strict=True,")
        writer.scope.line(")")
        writer.scope.line(f"for {', '.join(taken)} in {steps}:")


def _state_precision(body: Function, i: int) -> Precision:
    return Precision.WIDE if body.inputs[i][1].dtype == "real" else Precision.WHOLE


def _state(writer: Writer, node: Node, body: Function, i: int) -> str:
    """The variable of a state, with its first value."""
    value = node.operands[i]
    expr = layout.ordered(writer.real(writer.shaped(value)), writer.type(value).names)
    if writer.type(value).dtype == "real" and expr.precision is not Precision.WIDE:
        expr = expr.with_text(f"{expr.at(Level.ATOM)}.to(torch.get_default_dtype())")
    name = writer.scope.names.take(body.inputs[i][0], "state")
    writer.scope.line(f"{name} = {expr.text}", (expr.axes,))
    return name


def _renamed(expr: Expr, type: TensorType, axis: Axis | None, axes: tuple[Axis, ...]) -> Expr:
    """A tensor of the caller under the body's names of its axes."""
    outer = [n for n in type.names if axis is None or n != axis.name]
    local = dict(zip(outer, axes, strict=True))
    return replace(expr, axes=tuple(local[n] for n in expr.names))


def _yield_name(writer: Writer, node: Node, i: int, count: int) -> str:
    name = writer.spec_names.get(node.values[i])
    return f"{name}s" if name and count == 1 else f"steps_{i}" if count > 1 else "steps"


def _stacked(
    writer: Writer, node: Node, axis: Axis, lists: list[tuple[int, str, Expr]], narrow: str | None
) -> None:
    for i, name, expr in lists:
        value = node.values[i]
        type = writer.type(value)
        text = f"torch.stack({name}, dim={type.index(axis.name)})"
        precision = expr.precision
        if precision is Precision.WIDE and narrow is not None:
            text, precision = f"{text}.to({narrow}.dtype)", Precision.COMPUTE
        writer.values[value] = Expr(text, Level.ATOM, type.axes, precision)
        writer.assign(value)
