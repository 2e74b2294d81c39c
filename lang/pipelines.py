"""Data pipelines: `mix(text("a/*.txt") = 0.7, text("b/*.py") = 0.3) |> dedup() |> pack(2048)`."""

from __future__ import annotations

from . import errors, tree
from .diagnostics import WeftError
from .forms import SOURCES, TRANSFORMS, read_term
from .plans import DataPlan, Term
from .values import Scope, number


def read_data(expression: tree.Expression, scope: Scope) -> DataPlan:
    """`mix(text("a") = 0.7, text("b") = 0.3) |> dedup() |> pack(2048)`."""
    steps: list[tree.Expression] = []
    while isinstance(expression, tree.Binary) and expression.op == "|>":
        steps.insert(0, expression.right)
        expression = expression.left
    sources = _sources(expression, scope)
    found: dict[str, Term] = {}
    for step in steps:
        name = step.function.id if isinstance(step, tree.Call) and isinstance(step.function, tree.Name) else ""
        if name in SOURCES.names or name == "mix":
            title = f"`{name}` does not begin the pipeline"
            raise _wrong(title, "a source comes first", f"begin with `{name}(..)`; join sources with `mix`", step)
        term = read_term(step, TRANSFORMS, scope)
        if term.name in found:
            title = f"`{term.name}` stands twice in one pipeline"
            raise _wrong(title, "the second one", "remove one", step)
        if "pack" in found:
            title = f"`{term.name}` comes after `pack`"
            raise _wrong(title, "documents are already packed", "`pack` comes last", step)
        found[term.name] = term
    return DataPlan(sources, found.get("dedup"), found.get("pack"))


def _sources(expression: tree.Expression, scope: Scope) -> tuple[tuple[Term, float], ...]:
    if not isinstance(expression, tree.Call) or not isinstance(expression.function, tree.Name):
        return ((read_term(expression, SOURCES, scope), 1.0),)
    name = expression.function.id
    if name in TRANSFORMS.names:
        title = f"`{name}` has no data to work on"
        advice = f'begin with a source: `text("corpus/*.txt") |> {name}(..)`'
        raise _wrong(title, "a pipeline begins with a source", advice, expression)
    if name not in (*SOURCES.names, "mix"):
        known = (*SOURCES.names, "mix")
        raise WeftError(errors.unknown_form(name, "a source of data", known, expression.function.span))
    if name != "mix":
        return ((read_term(expression, SOURCES, scope), 1.0),)
    example = 'mix(text("a/*.txt") = 0.7, text("b/*.txt") = 0.3)'
    if not expression.arguments:
        raise WeftError(errors.wrong_arguments("mix", "mixes nothing", "no sources", example, expression.span))
    parts: list[tuple[Term, float]] = []
    for argument in expression.arguments:
        if not isinstance(argument.value, tree.Weighted):
            raise WeftError(
                errors.wrong_arguments("mix", "needs a share for every source", "no share", example, argument.span)
            )
        source = read_term(argument.value.value, SOURCES, scope)
        share = float(number(argument.value.weight, "share", "a number", "0.5"))
        if share <= 0:
            raise WeftError(errors.out_of_range("share", f"{share:g}", "above 0", argument.value.weight.span))
        parts.append((source, share))
    kinds = tuple(dict.fromkeys(source.name for source, _ in parts))
    if len(kinds) > 1:
        title = f"a mixture holds one kind of data, not {errors.one_of(kinds, 'and')}"
        advice = "train on them in stages, one after the other"
        raise _wrong(title, "different kinds of documents", advice, expression)
    total = sum(share for _, share in parts)
    return tuple((source, share / total) for source, share in parts)


def _wrong(title: str, label: str, advice: str, at: tree.Expression) -> WeftError:
    return WeftError(errors.wrong_pipeline(title, label, advice, at.span))
