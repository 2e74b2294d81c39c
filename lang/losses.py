"""Losses: one objective plus weighted penalties, as in `next_token() + 0.01 * balance`."""

from __future__ import annotations

from . import errors, tree
from .diagnostics import WeftError
from .findings import Findings
from .forms import OBJECTIVES, read_term
from .plans import LossPlan, ModelFacts, Term
from .values import Scope, describe, number


def read_loss(expression: tree.Expression, scope: Scope, facts: ModelFacts | None, findings: Findings) -> LossPlan:
    """`next_token() + 0.01 * balance`: one objective, any number of penalties with their weights."""
    objective: Term | None = None
    penalties: dict[str, float] = {}
    for term in _summands(expression):
        if isinstance(term, tree.Call):
            if objective is not None:
                raise WeftError(errors.wrong_loss("a loss has one objective", "the second one", term.span))
            objective = read_term(term, OBJECTIVES, scope)
            continue
        weight, name = _weighted(term)
        if name.id in OBJECTIVES.names:
            read_term(name, OBJECTIVES, scope)
        if name.id in penalties:
            raise WeftError(errors.wrong_loss(f"the penalty `{name.id}` is added twice", "the second one", name.span))
        if facts is not None and name.id not in facts.penalties:
            if facts.penalties:
                raise WeftError(errors.unknown_penalty(name.id, facts.name, facts.penalties, name.span))
            findings.warnings.append(errors.idle_penalty(name.id, facts.name, name.span))
        penalties[name.id] = weight
    if objective is None:
        raise WeftError(errors.wrong_loss("this loss has no objective", "only penalties", expression.span))
    return LossPlan(objective, tuple(penalties.items()))


def _summands(expression: tree.Expression) -> list[tree.Expression]:
    terms: list[tree.Expression] = []
    while isinstance(expression, tree.Binary) and expression.op == "+":
        terms.insert(0, expression.right)
        expression = expression.left
    return [expression, *terms]


def _weighted(term: tree.Expression) -> tuple[float, tree.Name]:
    if isinstance(term, tree.Name):
        return 1.0, term
    if isinstance(term, tree.Binary) and term.op == "*":
        factor, name = (term.left, term.right) if isinstance(term.right, tree.Name) else (term.right, term.left)
        if isinstance(name, tree.Name):
            weight = float(number(factor, "weight", "a number", "0.01"))
            if weight < 0:
                raise WeftError(errors.out_of_range("weight", f"{weight:g}", "at least 0", factor.span))
            return weight, name
    raise WeftError(
        errors.wrong_loss(f"{describe(term)} is not part of a loss", "an objective or a penalty expected", term.span)
    )
