"""Why a rule is not used: the best partial matches, in words; and fusions that a build relies on."""

from __future__ import annotations

from collections.abc import Sequence

from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.source import Span
from ..ir.module import Function, Module
from ..ir.needs import callees_first
from ..ir.order import numbers
from ..passes.editing import opened
from .match import Matcher, Miss
from .rewrite import Report, may_change, replace_match
from .rule import Rule


def why_not(module: Module, rule: Rule, limit: int = 3) -> list[str]:
    """Where the rule came nearest and what was missing there, best first; [] when it can be used as it is.

    Each line names the function, the node as `weft show --ir` numbers it, its place in the spec, and the reason.
    """
    found: list[tuple[int, str]] = []
    for name in callees_first(module):
        function = module.functions[name]
        if not may_change(rule, function):
            continue
        misses, fires = _attempts(module, function, rule)
        if fires:
            return []
        best: dict[int, Miss] = {}
        for miss in misses:
            if miss.node not in best or miss.score > best[miss.node].score:
                best[miss.node] = miss
        found += [(miss.score, _line(function, miss)) for miss in best.values() if miss.score > 0]
    if not found:
        return [f"nothing in `{module.name}` looks like the left side: there is no {_root(rule)}"]
    found.sort(key=lambda item: -item[0])
    return [line for score, line in found if score == found[0][0]][:limit]


def fused(report: Report, name: str) -> bool:
    """Whether a rule of this name was used, or one that puts in a function of this name (`attend`)."""
    return any(
        f.rule == name or any(m == name or m.rpartition(".")[2] == name for m in f.makes) for f in report.firings
    )


def require_fused(report: Report, name: str, module: Module, rules: Sequence[Rule], span: Span | None = None) -> None:
    """`expect fused NAME`: raise WeftError (E0808) that says why not, unless it was fused.

    `module` is the module after rewriting; `rules` are those that were tried.
    """
    if fused(report, name):
        return
    meant = [r for r in rules if r.name == name or any(m.rpartition(".")[2] == name for m in r.makes)]
    reasons = [f"{r.name}: {line}" for r in meant for line in why_not(module, r)]
    raise WeftError(errors.not_fused(name, reasons, [r.name for r in rules], span))


def _attempts(module: Module, function: Function, rule: Rule) -> tuple[list[Miss], bool]:
    """Everything that went wrong with a rule in a function, and whether it can be used there after all."""
    matcher = Matcher(rule, opened(function), module.functions, explain=True)
    root = matcher.pattern[matcher.root]
    for node in list(matcher.graph.nodes()):
        if node.op != root.op:
            continue
        for binding in matcher.at(node):
            copy = Matcher(rule, opened(function), module.functions)
            reason = replace_match(copy, binding, dict(module.functions))
            if reason is None:
                return [], True
            matcher.misses.append(Miss(binding.score + 2, reason, node.id))
    return matcher.misses, False


def _line(function: Function, miss: Miss) -> str:
    node = function.graph[miss.node]
    span = node.origin.first_span()
    where = f"{span}: " if span else ""
    return f"{where}`{function.name}` %{numbers(function)[miss.node]} {node.op}: {miss.reason}"


def _root(rule: Rule) -> str:
    graph = rule.before.graph
    node = graph[Matcher(rule, graph, rule.functions).root]
    return f"call of `{rule.functions[node['callee']].definition}`" if node.op == "call" else f"`{node.op}` in it"
