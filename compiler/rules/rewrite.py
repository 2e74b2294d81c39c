"""Applying rules to a module until none of them is found any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...lang import errors
from ...lang.axes import AxisError
from ...lang.diagnostics import WeftError
from ..ir.graph import Graph, Origin, Value
from ..ir.module import Function, Module
from ..ir.needs import callees_first
from ..ir.ops import build
from ..ir.order import called
from ..ir.splice import splice
from ..passes.editing import closed, is_composite, opened
from .binding import Binding
from .instantiate import operand, replacement_axes, specialising_calls
from .match import Matcher, below
from .rule import Rule


@dataclass(frozen=True)
class Firing:
    """One use of a rule: the function, what stood there, and the definitions of the functions that were put in."""

    rule: str
    function: str
    replaced: tuple[Origin, ...]
    makes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Every use of a rule, in order."""

    firings: tuple[Firing, ...] = ()

    def count(self, rule: str) -> int:
        """How often a rule was used."""
        return sum(f.rule == rule for f in self.firings)


@dataclass(frozen=True)
class Rewrite:
    """Rules as a pass."""

    rules: tuple[Rule, ...]
    name: str = "rewrite"

    def run(self, module: Module) -> Module:
        return rewrite(module, self.rules)[0]


def rewrite(module: Module, rules: Sequence[Rule]) -> tuple[Module, Report]:
    """The module with every rule applied wherever it is found, function by function, and a report of where.

    Bodies of the standard library's fns stay as they are, and so do functions that a rule itself puts in. Raises
    WeftError (E0807) for rules that undo each other without end.
    """
    functions = dict(module.functions)
    firings: list[Firing] = []
    for name in callees_first(module):
        function = functions[name]
        usable = tuple(r for r in rules if may_change(r, function))
        if usable:
            functions[name] = _rewritten(function, usable, functions, firings)
    return replace(module, functions=functions), Report(tuple(firings))


def may_change(rule: Rule, function: Function) -> bool:
    """Whether a rule applies inside a function at all: composites are never taken apart or changed."""
    return not is_composite(function) and (not function.definition or function.definition not in _inside(rule))


def _inside(rule: Rule) -> frozenset[str]:
    """Definitions of all functions that the right side runs, at any depth: rewriting those would never end."""
    waiting, seen = list(called(rule.after)), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += called(rule.functions[name])
    return frozenset(rule.functions[name].definition for name in seen)


def _rewritten(
    function: Function, rules: Sequence[Rule], functions: dict[str, Function], firings: list[Firing]
) -> Function:
    graph = opened(function)
    limit = 4 * len(graph) + 64
    count, moved = 0, True
    while moved:
        moved = False
        for rule in rules:
            firing = _once(function, rule, graph, functions)
            while firing is not None:
                firings.append(firing)
                count, moved = count + 1, True
                if count > limit:
                    raise WeftError(errors.endless_rules(tuple(r.name for r in rules), function.name, limit))
                firing = _once(function, rule, graph, functions)
    return closed(function, graph) if count else function


def _once(function: Function, rule: Rule, graph: Graph, functions: dict[str, Function]) -> Firing | None:
    """Use a rule at the first place where it is found."""
    matcher = Matcher(rule, graph, functions)
    for node in graph.nodes():
        if node.op != matcher.pattern[matcher.root].op:
            continue
        for binding in matcher.at(node):
            inner = (graph[i] for i in sorted(binding.nodes.values()))
            replaced = tuple(dict.fromkeys(n.origin for n in inner if n.operands))
            if replace_match(matcher, binding, functions) is None:
                return Firing(rule.name, function.name, replaced, rule.makes)
    return None


def replace_match(matcher: Matcher, binding: Binding, functions: dict[str, Function]) -> str | None:
    """Put the right side in; returns None, or why it does not fit (the graph is then as it was)."""
    rule, graph = matcher.rule, matcher.graph
    targets = [matcher.bound(binding, o) for o in matcher.pattern.outputs]
    axes = replacement_axes(binding, rule.before, rule.after)
    if axes is None:
        return "the sizes of the axes do not fit the rule"
    old = [graph[i] for i in sorted(binding.nodes.values()) if graph[i].operands]
    name = graph[targets[-1]].origin.name
    origin = Origin(None, rule.name, tuple(dict.fromkeys(n.origin for n in old)), name)
    sites = {n["site"] for n in graph.nodes() if n.op in ("call", "repeat")}
    operands = tuple(operand(graph, binding.variables[n], origin) for n, _ in rule.variables)
    added = dict(functions)
    calls = specialising_calls(axes, rule.functions, added, sites, origin)
    try:
        results = splice(graph, rule.after, operands, axes, lambda _: origin, calls)
        results = tuple(_ordered(graph, r, t, origin) for r, t in zip(results, targets, strict=True))
    except AxisError as error:
        graph.sweep()
        return f"what is put in does not fit: {error.message}"
    moved = {t for t, r in zip(targets, results, strict=True) if t != r}
    if any(not below(graph, r).isdisjoint(t.node for t in moved) for r in results):
        graph.sweep()
        return "what is put in contains what it replaces"
    functions.update(added)
    for target, result in zip(targets, results, strict=True):
        graph.replace(target, result)
    graph.sweep()
    return None


def _ordered(graph: Graph, value: Value, target: Value, origin: Origin) -> Value:
    """A value with the axes in the order of what it replaces."""
    made, wanted = graph.type(value), graph.type(target)
    if made == wanted:
        return value
    if made.dtype != wanted.dtype or set(made.axes) != set(wanted.axes):
        raise AxisError("missing", f"{made} stands where {wanted} stood")
    return build(graph, "expand", value, origin=origin, axes=wanted.axes)


