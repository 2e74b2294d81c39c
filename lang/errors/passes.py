"""Errors of rules, passes and the text of the IR (E08xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from ..source import Span
from .base import code, did_you_mean, finding, one_of, shorten


@code("E0801", "inconsistent module")
def inconsistent_module(name: str, problems: Sequence[str], after: str = "") -> Diagnostic:
    """A fault of a pass, a rule or a hand-written module, never of a spec."""
    shown = [*problems[:20], *([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])]
    return finding(
        f"the module `{name}` is inconsistent" + (f" after the pass `{after}`" if after else ""),
        notes=shown,
        help=("this is a fault of whatever built or changed the module; run `weft show --ir` on the step before",),
    )


@code("E0802", "IR text that cannot be read")
def ir_text(span: Span, expected: str) -> Diagnostic:
    found = (
        f"`{shorten(span.text)}`" if span.text.strip() else "the end of a line" if span.text else "the end of the text"
    )
    return finding(f"expected {expected}, found {found}", span, "the text of a module cannot be read from here on")


@code("E0803", "IR value that cannot be written")
def unprintable(kind: str) -> Diagnostic:
    return finding(
        f"an attribute holds a `{kind}`, which the text form has no way to write",
        help=("attributes hold numbers, names, axes, types, sizes, instances, initialisers and tuples of these",),
    )


@code("E0804", "function that cannot be inlined")
def not_inlinable(name: str, reason: str, candidates: Sequence[str] = ()) -> Diagnostic:
    return finding(f"`{name}` cannot be inlined: {reason}", help=did_you_mean(name, candidates))


@code("E0805", "unknown optimisation level")
def unknown_level(level: str, levels: Sequence[str]) -> Diagnostic:
    return finding(
        f"there is no optimisation level `{shorten(level)}`", help=(f"the levels are {one_of(levels, 'and')}",)
    )


@code("E0806", "rule that cannot be used")
def unusable_rule(name: str, problem: str, span: Span | None) -> Diagnostic:
    return finding(f"the rule `{name}` cannot be used: {problem}", span, "this rule")


@code("E0807", "rules without end")
def endless_rules(names: Sequence[str], function: str, limit: int) -> Diagnostic:
    return finding(
        f"the rules {one_of(names, 'and')} do not come to rest in `{function}`" if len(names) > 1
        else f"the rule `{names[0]}` does not come to rest in `{function}`",
        notes=(f"given up after {limit} replacements",),
        help=("what a rule puts in must not contain what it, or another rule, looks for",),
    )


@code("E0808", "expected fusion did not happen")
def not_fused(name: str, reasons: Sequence[str], rules: Sequence[str], span: Span | None) -> Diagnostic:
    return finding(
        f"`{name}` was expected to be fused and is not",
        span,
        "this expectation",
        notes=reasons,
        help=()
        if reasons
        else (*did_you_mean(name, rules), f"the rules are: {', '.join(rules)}" if rules else "no rules ran"),
    )


@code("E0810", "not possible in PyTorch source")
def not_in_torch(what: str, why: str, span: Span | None) -> Diagnostic:
    return finding(
        f"{what} cannot be written as PyTorch: {why}",
        span,
        "made here",
        help=("choose another name or form for it in the spec",),
    )


@code("E0820", "unknown pass")
def unknown_pass(name: str, known: Sequence[str]) -> Diagnostic:
    advice = (*did_you_mean(name, known), f"the passes are {one_of(known, 'and')}")
    return finding(f"there is no pass `{shorten(name)}`", help=advice)


@code("E0821", "unknown rule")
def unknown_rule(name: str, known: Sequence[str]) -> Diagnostic:
    """`known` are all names, of rules and of what they and the target put in; there are too many to list."""
    advice = (*did_you_mean(name, known), "`weft show FILE --rules` lists the rules and what was put in")
    return finding(f"there is no rule, function or operator `{shorten(name)}`", help=advice)


@code("E0825", "unknown target")
def unknown_target(name: str, known: Sequence[str]) -> Diagnostic:
    advice = (*did_you_mean(name, known), f"the targets are {one_of(known, 'and')}")
    return finding(f"there is no target `{shorten(name)}`", help=advice)


@code("E0826", "quantized weights without operators")
def no_quantized_operators(target: str, span: Span | None = None) -> Diagnostic:
    advice = ("export for the target `cpu` or `cuda`", "leave the `quantize` away")
    return finding(f"the target `{target}` has no operators for quantized weights", span, "asked for here", help=advice)


@code("E0827", "scheme without an operator")
def no_scheme_operator(scheme: str, target: str, others: Sequence[str], span: Span | None = None) -> Diagnostic:
    advice = (f"export for the target {one_of(others, 'or')}", "store the weights in another scheme: `int4` or `int8`")
    title = f"the target `{target}` has no operator for weights in the scheme `{scheme}`"
    return finding(title, span, "asked for here", help=advice)
