"""The whole of one function: parameters, body, new states and what is returned."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ....lang.axes import TensorType
from ...ir.module import Function
from ...ir.sources import ambients, source_ambients
from .composites import whole
from .emission import Emission
from .method import Given, Method
from .text import Expr, Level, Line, Shape, literal, shape_of
from .writer import WIDTH, Scope, Writer

Number = bool | int | float



def write(emission: Emission, function: Function, given: tuple[Given, ...]) -> Method:
    """The source of a function for arguments of which `given` is known. Raises WeftError for what has no source."""
    method = Method(function, stateful=bool(function.states))
    scope = Scope(emission, method, emission.local_names(), indent=1 if method.is_free else 2)
    scope.names.reserve("states", "path")
    is_entry, is_encoder = (function.name == name for name in (emission.module.entry, emission.module.encoder))
    live = emission.liveness.inputs(function)
    values: dict[str, Expr] = {}
    parameters: list[tuple[str, Shape]] = []
    kept = []
    defaults = dict(emission.module.defaults) if is_entry or is_encoder else {}
    optional: dict[str, tuple[TensorType, Number]] = {}
    for i, ((name, type), known) in enumerate(zip(function.inputs, given, strict=True)):
        if isinstance(known, str):
            scope.structure = known
        elif isinstance(known, Expr):
            values[name] = known
        elif i in live:
            variable = scope.names.take(name, "x")
            values[name] = Expr(variable, Level.ATOM, type.axes, known)
            parameters.append((variable, shape_of(type.axes)))
            kept.append(i)
            if name in defaults:
                optional[variable] = (type, defaults[name])
            else:
                scope.shaped.append((variable, type.axes))
    method.parameters, method.kept = _last(parameters, optional), tuple(kept)
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
    for variable, (type, number) in optional.items():
        method.optional[variable] = lines = _left_out(writer, variable, type, number)
        method.lines += lines
    scope.shaped += [(variable, type.axes) for variable, (type, _) in optional.items()]
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


def _last(parameters: list[tuple[str, Shape]], optional: Mapping[str, object]) -> tuple[tuple[str, Shape], ...]:
    """The parameters, those that may be left out behind the others."""
    return tuple(sorted(parameters, key=lambda p: p[0] in optional))


def _left_out(writer: Writer, variable: str, type: TensorType, number: Number) -> list[Line]:
    """The lines that make an input that was not given."""
    like = next((n for n, axes in writer.scope.shaped if axes == type.axes and _whole(writer, n)), None)
    if like and type.dtype == "int":
        maker = {0: f"zeros_like({like})", 1: f"ones_like({like})"}.get(int(number), f"full_like({like}, {number})")
        text = f"torch.{maker}"
    else:
        text = writer.filled(literal(number), type).text
    return [Line(f"if {variable} is None:", 2), Line(f"{variable} = {text}", 3, (shape_of(type.axes),))]


def _whole(writer: Writer, variable: str) -> bool:
    """Whether a parameter holds whole numbers."""
    types = dict(writer.function.inputs)
    return any(e.text == variable and types[n].dtype == "int" for n, e in writer.inputs.items())


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
