"""What a user asks for: the cached step of a module, and its form for rows that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..ir.graph import Graph, Value
from ..ir.module import Function, Module
from ..ir.order import reachable
from ..lower.model import deep_recursion
from ..passes.inference import drop_penalties
from .body import fresh
from .constants import split_constants, token_symbols
from .derivation import Derivation, Key
from .facts import NOTHING
from .forms import Form


def step(module: Module, rows: bool = False) -> Module:
    """The cached step: new tokens after those it remembers (rules R0 to R8 of docs/design.md).

    Without `rows` every row has the same number of past tokens (ambient `past`), and a history that is only looked at
    through a window is kept in a ring. With `rows` they may differ: padding may stand before or after a row's
    tokens, which stand together in each step (ambients `positions`, `valid`, `history_positions`, `history_valid`).
    What does not depend on the stream is read from states of kind constant, which the module's `encoder` computes once
    from the inputs that are not streamed (`encoding` makes a module of it). Penalties and dropout are dropped. Raises
    WeftError (E05xx) for a program that sees the future.
    """
    return _derive(_streaming(module), Form(step=True, rows=rows))


def _streaming(module: Module) -> Module:
    if module.stream is None:
        raise WeftError(errors.no_stream(module.main.origin.first_span(), module.name))
    return drop_penalties(module)


def rows(module: Module) -> Module:
    """The full form for rows that hold padding or several documents (ambients `positions` and `segments`).

    Positions restart with every document; history, delays and recurrences do not cross from one to the next. Models
    without a stream have this form too. Raises WeftError (E05xx) for a program that mixes rows or documents.
    """
    return _derive(module, Form(rows=True))


def _derive(module: Module, form: Form) -> Module:
    if module.form != "full":
        raise ValueError(f"forms are derived from the form `full`, not from `{module.form}`")
    if form.rows and not (module.batch and module.sequence):
        raise WeftError(errors.no_rows(module.main.origin.first_span(), module.name))
    first = _run(module, form, {})
    derivation, entry = _run(module, form, first[0].found) if first[0].found else first
    result = replace(module, functions=derivation.functions, entry=entry, form=str(form))
    if form.step:
        result = split_constants(result, derivation.bases, token_symbols(module, tuple(derivation.widths)))
    return _named_alike(result, derivation.bases)


def _run(module: Module, form: Form, rings: Mapping[Key, int]) -> tuple[Derivation, str]:
    derivation = Derivation(module, form, rings)
    types = tuple(type for _, type in module.main.inputs)
    with deep_recursion():
        return derivation, derivation.derive(module.entry, types, (NOTHING,) * len(types), False, False, ()).name


def _named_alike(module: Module, bases: Mapping[str, str]) -> Module:
    """Only the functions that run, under the names they were derived from as far as those are free."""
    names: dict[str, str] = {}
    for name in reachable(module):
        names[name] = fresh(bases[name], names.values())
    functions = {names[name]: _renamed(module.functions[name], names) for name in names}
    entry, encoder = names[module.entry], names.get(module.encoder, "")
    return replace(module, functions=functions, entry=entry, encoder=encoder)


def _renamed(function: Function, names: Mapping[str, str]) -> Function:
    """A function whose callees have other names."""
    graph, new = Graph(), dict[Value, Value]()
    for node in function.graph.nodes():
        attributes = dict(node.attributes)
        if node.op == "call":
            attributes["callee"] = names[node["callee"]]
        elif node.op == "repeat":
            attributes["bodies"] = tuple(names[name] for name in node["bodies"])
        elif node.op == "scan":
            attributes["body"] = names[node["body"]]
        operands = tuple(new[v] for v in node.operands)
        new.update(zip(node.values, graph.add(node.op, operands, node.types, node.origin, **attributes), strict=True))
    graph.outputs = tuple(new[v] for v in function.graph.outputs)
    states = tuple(replace(s, update=new[s.update]) for s in function.states)
    return replace(function, name=names[function.name], graph=graph, states=states)
