"""Errors of streams: what a model may see of its own tokens (E05xx)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Label
from ..source import Span
from .base import code, finding


@code("E0501", "sees the future")
def sees_the_future(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    """`operation` looks along the stream itself: a primitive's name, or words for a part of it."""
    shown = operation if " " in operation else f"`{operation}`"
    return finding(
        f"{shown} along the stream `{axis}` sees the future",
        span,
        f"a token would depend on the tokens of `{axis}` that come after it",
        labels=labels,
        help=(
            f"rename `{axis}` to its history and look along that under a causal mask: "
            "`softmax(scores, S where position(S) <= position(T))`",
            "a model that reads the whole text at once (an encoder) declares no stream",
        ),
    )


@code("E0502", "history without a causal mask")
def history_not_masked(
    span: Span | None,
    operation: str,
    history: str,
    tokens: Sequence[str],
    masks: Sequence[Span],
    labels: Sequence[Label],
) -> Diagnostic:
    """`tokens` are the stream axes of the operation; `masks` is where its mask was made, if it has one."""
    if not tokens:
        why = f"nothing here says for which token `{history}` is looked at"
    else:
        why = f"no mask here implies `position({history}) <= position({tokens[0]})`"
    made = [Label(m, f"this does not imply `{history}` is in the past") for m in masks if m != span]
    token = tokens[0] if tokens else "T"
    operation = {"top": "best"}.get(operation, operation)
    call = f"{'softmax' if operation == 'dot' else operation}(x{', count' if operation == 'best' else ''}"
    return finding(
        f"`{operation}` over the history `{history}` sees the future",
        span,
        why,
        labels=(*made, *labels),
        notes=("what is proved: comparisons of positions, joined with `and`, also through calls",),
        help=(
            f"mask it: `{call}, {history} where position({history}) <= position({token}))`, "
            f"or make the other entries zero: `choose(mask, x, 0)`",
        ),
    )


@code("E0503", "no streaming rule")
def no_streaming_rule(
    span: Span | None, operation: str, axis: str, advice: Sequence[str] = (), labels: Sequence[Label] = ()
) -> Diagnostic:
    return finding(
        f"`{operation}` along `{axis}` has no form that works token by token",
        span,
        f"`{axis}` counts tokens",
        labels=labels,
        help=(*advice, "along the stream there are `position`, `shift`, `delays`, `scan`, and `rename` to its history"),
    )


@code("E0504", "depends on the total length")
def depends_on_length(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    """`operation` is `mean` or `size`."""
    how = f"it divides by the length of `{axis}`, which" if operation == "mean" else "the number of tokens"
    return finding(
        f"`{operation}` over `{axis}` depends on the total length",
        span,
        f"{how} grows with every token",
        labels=labels,
        help=(
            "the mean of what a token sees is `mean(x, S where position(S) <= position(T))`"
            if operation == "mean"
            else "the number of tokens so far is `position(T) + 1`",
        ),
    )


@code("E0505", "rename of a history")
def renamed_history(
    span: Span | None, axis: str, to: str, stream: tuple[str, str], labels: Sequence[Label] = ()
) -> Diagnostic:
    """A rename between tokens and something that is not their history. `stream` is (T, S)."""
    token, history = stream
    return finding(
        f"`{axis}` cannot be renamed to `{to}`",
        span,
        f"the tokens `{token}` can only be remembered as `{history}`, once",
        labels=labels,
        help=(f"write `rename({token} -> {history})`; what is remembered stays `{history}`",),
    )


@code("E0506", "memory inside a scan")
def state_in_scan(span: Span | None, what: str, labels: Sequence[Label] = ()) -> Diagnostic:
    return finding(
        f"`{what}` inside a scan would be remembered once per step of the scan",
        span,
        "a scan's body remembers nothing but its own states",
        labels=labels,
        help=("compute it before the scan and use it inside",),
    )


@code("E0507", "mixes rows or documents")
def mixes_rows(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    shown = operation if " " in operation else f"`{operation}`"
    return finding(
        f"{shown} along `{axis}` mixes rows or documents that have nothing to do with each other",
        span,
        "a padded or packed row would not equal the row alone",
        labels=labels,
        help=("look along a renamed axis, as attention does: there the other documents can be left out",),
    )


@code("E0508", "no such form")
def no_such_form(span: Span | None, form: str, reason: str, labels: Sequence[Label] = ()) -> Diagnostic:
    return finding(
        f"this operation has no form `{form}`: {reason}",
        span,
        "in that form every row has positions of its own",
        labels=labels,
        help=("give the axes that meet here the same sizes and names of their own",),
    )


@code("E0509", "model without a stream")
def no_stream(span: Span | None, model: str) -> Diagnostic:
    return finding(
        f"`{model}` declares no stream, so there is no next token to compute",
        span,
        "",
        help=("a model that generates declares its token axis and its history: `stream T as S`",),
    )


@code("E0510", "model without rows of tokens")
def no_rows(span: Span | None, model: str) -> Diagnostic:
    return finding(
        f"the input of `{model}` is not a batch of token rows, so nothing can be padded or packed",
        span,
        "",
        help=("such a model starts with `forward(tokens: int[B, T])`",),
    )
