"""Errors of blocks, overrides and interfaces (E06xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Label
from ..source import Span
from .base import code, did_you_mean, finding


@code("E0601", "override names nothing")
def unknown_override(path: str, name: str, owner: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{path}` cannot be set: {owner} has no parameter, size or child `{name}`", span, "sets nothing",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0602", "interface not met")
def interface_unmet(interface: str, name: str, reason: str, span: Span, declaration: Label) -> Diagnostic:
    """`name` is the slot that is filled, or the block that says it is an `interface`."""
    return finding(f"`{name}` must be a `{interface}`: {reason}", span, f"not a `{interface}`", labels=(declaration,))


@code("E0603", "definition in a circle")
def circular(name: str, span: Span) -> Diagnostic:
    return finding(f"the value of `{name}` depends on itself", span, "asks for itself")


@code("E0604", "parameter does not fit")
def parameter_mismatch(name: str, wanted: str, found: str, span: Span) -> Diagnostic:
    return finding(f"`{name}` must be {wanted}, this is {found}", span, found)


@code("E0605", "missing parameter")
def missing_parameter(name: str, owner: str, span: Span) -> Diagnostic:
    return finding(f"`{owner}` needs a value for `{name}`", span, f"`{name}` is not given")


@code("E0606", "recursion")
def recursion(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` uses itself", span, "used again inside of itself",
        help=("there is no recursion: layers repeat with `repeat n { .. }`, time with `scan T from ..`",),
    )


@code("E0607", "model without forward")
def no_forward(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` has no method `forward` with types", span, "this model",
        help=("write `forward(tokens: int[B, T]) -> [B, T, V] { .. }`",),
    )


@code("E0608", "number of a layer where nothing is repeated")
def no_layers_there(name: str, where: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` counts no layers: {where} has none there", span, "no layers",
        help=("it stands behind the name of a `repeat` and before a part of its layers: `blocks.{i}.attn = ..`",),
    )


@code("E0609", "no single part to stand in for")
def no_original(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` is repeated layers: there is no single `original`", span, "asked for here",
        help=(f"change a part of the layers: `{name}.PART = ..`, with its own `original`",),
    )


@code("E0610", "input that cannot be left out")
def input_needed(name: str, reason: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` has a default, but {reason}", span, "may be left out",
        help=("give it the axes of another input, or no default",),
    )
