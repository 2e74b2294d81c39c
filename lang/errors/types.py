"""Errors of axes, types and arguments (E03xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Label
from ..source import Span
from .base import code, finding


@code("E0301", "sizes differ")
def sizes_differ(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "sizes differ", labels=labels, help=(help,) if help else ())


@code("E0302", "wrong element type")
def wrong_dtype(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help,) if help else ())


@code("E0303", "axis twice")
def axis_twice(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help or "rename one of them: `rename(x, D -> E)`",))


@code("E0304", "number out of range")
def number_out_of_range(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help,) if help else ())


@code("E0305", "axis without a name")
def nameless_axis(size: str, span: Span) -> Diagnostic:
    return finding(
        f"an axis needs a name, `{size}` is only a size", span, "which axis?",
        help=(f"declare it before: `dim F = {size}`, and write `F` here",),
    )


@code("E0306", "argument does not fit")
def argument_mismatch(
    message: str, found: str, span: Span, labels: Sequence[Label] = (), help: str = ""
) -> Diagnostic:
    """`found` is the type of the argument."""
    return finding(message, span, f"this is {found}", labels=labels, help=(help,) if help else ())


@code("E0307", "result does not fit")
def result_mismatch(found: str, declared: str, span: Span, declaration: Span, what: str = "the result") -> Diagnostic:
    """`found` and `declared` are types, or numbers of values in words; `what` has them."""
    return finding(
        f"{what} is declared {declared}, this is {found}",
        span,
        f"this is {found}",
        labels=(Label(declaration, "declared here"),),
    )


@code("E0308", "wrong arguments")
def wrong_call(message: str, span: Span, help: Sequence[str] = (), label: str = "in this call") -> Diagnostic:
    return finding(message, span, label, help=help)


@code("E0309", "a static value is needed")
def not_static(what: str, span: Span) -> Diagnostic:
    return finding(
        f"{what} must be known when the model is compiled, this is a tensor", span, "depends on the input",
        help=("use a parameter of the block, a `dim` or a literal",),
    )


@code("E0310", "not possible in a scan")
def not_in_scan(what: str, span: Span) -> Diagnostic:
    return finding(
        f"{what} cannot stand inside a `scan`", span, "here",
        help=(
            "compute it for all positions before the scan and use its name inside;\n"
            "a step may use fns and kernel functions, such as `dot(s, weight, D)` with a `param weight` of the block",
        ),
    )


@code("E0311", "length not known")
def length_unknown(name: str, span: Span) -> Diagnostic:
    return finding(
        f"the length of `{name}` is not known when the model is compiled", span, "used as a number",
        help=("what depends on the length of the text would change while it grows; use `position(..)` instead",),
    )


@code("E0312", "not an axis")
def not_an_axis(
    message: str, span: Span, labels: Sequence[Label] = (), help: str = "", label: str = "no such axis"
) -> Diagnostic:
    return finding(message, span, label, labels=labels, help=(help,) if help else ())


@code("E0313", "layer changes its type")
def layer_changes_type(found: str, wanted: str, span: Span) -> Diagnostic:
    return finding(
        f"a repeated layer must give back what it takes: it takes {wanted} and gives {found}", span, "this layer",
        help=("the result of layer i is the first argument of layer i + 1",),
    )
