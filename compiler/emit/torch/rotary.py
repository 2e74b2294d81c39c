"""`rope` in one form for tensors of any rank: the angle gets axes of length 1 for the heads."""

from __future__ import annotations

from dataclasses import replace

from .text import Expr, Level
from .writer import Writer


def rope(writer: Writer) -> tuple[Expr, ...] | None:
    """The body of `weft.position.rope` for x [B.., T, heads.., K] and angle [B.., T, J] or [T, J]; None otherwise."""
    graph = writer.graph
    given = {n["name"]: n for n in graph.nodes() if n.op == "input"}
    if set(given) != {"x", "angle"} or any(name not in writer.inputs for name in given) or len(graph.outputs) != 1:
        return None
    x, angle = writer.inputs["x"], writer.inputs["angle"]
    if x.number is not None or angle.number is not None or len(angle.axes) < 2 or angle.names[-2] not in x.names:
        return None
    at = x.names.index(angle.names[-2])
    heads = len(x.axes) - at - 2
    if heads < 0 or angle.names[:-2] not in ((), x.names[:at]):
        return None
    j = angle.axes[-1]
    if heads:
        ones = f"(-1,) + (1,) * ({x.text}.dim() - {at + 2})"
        text = f"{angle.text}.unflatten(-2, {ones})"
        between = (replace(a, name="1") for a in x.axes[at + 1 : -1])
        writer.scope.line(f"{angle.text} = {text}", ((*angle.axes[:-1], *between, j),))
    a, b = (writer.scope.names.take(n) for n in ("a", "b"))
    writer.scope.line(f"{a}, {b} = {x.text}.chunk(2, dim=-1)", ((*x.axes[:-1], j),))
    cos, sin = (writer.scope.names.take(n) for n in ("cos", "sin"))
    # What is stacked is kept in memory: torch.compile would compute both anew in every kernel that reads them.
    writer.scope.line(f"{cos}, {sin} = torch.stack(({angle.text}.cos(), {angle.text}.sin()))")
    text = f"torch.cat(({a} * {cos} - {b} * {sin}, {b} * {cos} + {a} * {sin}), dim=-1)"
    wide = Expr(text, Level.ATOM, x.axes, max(x.precision, angle.precision))
    type = graph.type(graph.outputs[0])
    writer.values[graph.outputs[0]] = replace(wide, axes=type.axes)
    return (writer.values[graph.outputs[0]],)
