"""Where a refusal points: the operation itself, the calls that led to it, the mask that does not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...lang.diagnostics import Label
from ...lang.source import Span
from ..ir.graph import Node, Value

if TYPE_CHECKING:
    from .body import Body


def span_of(node: Node) -> Span | None:
    return node.origin.first_span()


def made_at(body: Body, value: Value) -> Span | None:
    """Where the spec makes a value; for an input, where the caller makes it."""
    return body.fact(value).origin.first_span()


def context(body: Body) -> Sequence[Label]:
    """What makes an operation's axis special, then the calls that led to this function, the innermost first."""
    stream = body.derivation.module.stream_origin.first_span()
    declared = [] if stream is None else [Label(stream, "the stream is declared here")]
    spans = (origin.first_span() for origin in reversed(body.chain))
    return declared + [Label(span, "called here") for span in dict.fromkeys(spans) if span is not None]
