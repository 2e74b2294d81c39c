"""The whole of one function: parameters, body, new states and what is returned."""

from __future__ import annotations

import json

from ...ir.module import Function
from ...ir.sources import ambients, source_ambients
from .composites import whole
from .emission import Emission
from .method import Given, Method
from .text import Expr, Level, shape_of
from .writer import WIDTH, Scope, Writer

def write(emission: Emission, function: Function, given: tuple[Given, ...]) -> Method:
    """The source of a function for arguments of which `given` is known. Raises WeftError for what has no source."""
    method = Method(function, stateful=bool(function.states))
    scope = Scope(emission, method, emission.local_names(), indent=1 if method.is_free else 2)
    scope.names.reserve("states", "path")
    is_entry, is_encoder = (function.name == name for name in (emission.module.entry, emission.module.encoder))
    live = emission.liveness.inputs(function)
    values: dict[str, Expr] = {}
    parameters = []
    kept = []
    for i, ((name, type), known) in enumerate(zip(function.inputs, given, strict=True)):
        if isinstance(known, str):
            scope.structure = known
        elif isinstance(known, Expr):
            values[name] = known
        elif i in live:
            variable = scope.names.take(name, "x")
            values[name] = Expr(variable, Level.ATOM, type.axes, known)
            scope.shaped.append((variable, type.axes))
            parameters.append((variable, shape_of(type.axes)))
            kept.append(i)
    method.parameters, method.kept = tuple(parameters), tuple(kept)
    if is_entry:
        reserved = Writer(scope, function, values)
        for name in ambients(emission.module):
            reserved.ambient(name)
        method.stateful = emission.is_step
        if emission.is_step:
            scope.line("states = dict(states)")
    if is_encoder:
        reserved = Writer(scope, function, values)
        for name in source_ambients(emission.module) if "rows" in emission.module.form else ():
            reserved.ambient(name)
        method.stateful = True
        scope.line("states = {}")
    writer = Writer(scope, function, values)
    results = whole(writer) or writer.run()
    writer.write_states()
    method.results = tuple(writer.returned(v, e) for v, e in zip(function.graph.outputs, results, strict=True))
    _shorten(writer, method)
    returned = ["states"] if is_encoder else _returned(emission, method, is_entry)
    if returned:
        scope.line(f"return {', '.join(returned)}")
    elif not method.lines:
        scope.line("pass")
    return method


def _shorten(writer: Writer, method: Method) -> None:
    """Several results that are too long for one line get names."""
    while len(method.results) > 1 and sum(len(e.text) + 2 for e in method.results) > WIDTH:
        longest = max(range(len(method.results)), key=lambda i: len(method.results[i].text))
        expr = method.results[longest]
        output = writer.function.outputs[longest]
        name = writer.scope.names.take(output.removeprefix("penalty.") if output.startswith("penalty.") else "y")
        writer.scope.line(f"{name} = {expr.text}", (expr.axes,))
        method.results = (*method.results[:longest], expr.with_text(name), *method.results[longest + 1 :])


def _returned(emission: Emission, method: Method, is_entry: bool) -> list[str]:
    """What stands behind `return`: the entry gives its penalties by name, and the states."""
    found = [e.text for e in method.results]
    if not is_entry:
        return found
    outputs = method.function.outputs
    penalties = {n.removeprefix("penalty."): t for n, t in zip(outputs, found, strict=True) if n.startswith("penalty.")}
    values = found[: len(found) - len(penalties)]
    if penalties:
        values.append(f"{{{', '.join(f'{json.dumps(n)}: {t}' for n, t in penalties.items())}}}")
    return [*values, "states"] if emission.is_step else values
