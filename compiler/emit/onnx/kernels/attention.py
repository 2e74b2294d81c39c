"""`weft.attention.attend` as ONNX's Attention: grouped heads, a mask or an additive bias, the cache inside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .....lang.axes import Axis, TensorType
from ..elementwise import elementwise
from ..layout import Tensor, Writer
from ..scope import Operand
from .kernel import Declined, Results

if TYPE_CHECKING:
    from ..activation import Activation


def attend(w: Writer, call: Activation) -> Results:
    """Attention-23 over q [.., T, G, R, K], k [.., S, G, K], v [.., S, G, U]; query head g * R + r reads key head g.

    The mask is that of the body's softmax, so what the step form added to it (padding) counts. A row without any
    entry is 0, as in the body.
    """
    scale = call.static("scale")
    if scale is None:
        return Declined("the scale is computed at run time")
    if not {"q", "k", "v"} <= set(call.names):
        return Declined("queries, keys or values are constants")
    q, k, v = (call.type(n) for n in ("q", "k", "v"))
    *batch, t, g, r, _ = q.axes
    s, lead = k.axes[-3], tuple(a.name for a in batch)
    if not (g.size.is_constant and r.size.is_constant):
        return Declined("the number of heads is not fixed")
    seen = call.softmax_mask()
    bias = call.tensor("bias") if "bias" in call.names else None
    mask = mask_or_bias(w, seen, bias, (tuple(batch), (g, r), (t,), (s,)))
    attributes = {"q_num_heads": (g.size * r.size).value, "kv_num_heads": g.size.value, "scale": float(scale)}
    given = w.fill(call.tensor("q"), q.names)
    keys, values = call.joined("k"), call.joined("v")
    if keys is None or values is None:
        sources = (call.tensor("k"), call.tensor("v"))
        if all(x.groups == (lead, (g.name,), (s.name,), (x.type.names[-1],)) for x in sources):
            # A constant lies as the cache does: heads before time, for queries of the same order.
            heads = w.arrange(given, (lead, (g.name, r.name), (t.name,), q.names[-1:]))
            wire = w.emit("Attention", heads.operand, *(x.operand for x in sources), mask, scale=float(scale))
            return (Tensor(call.function.output_types[0], (*heads.groups[:-1], v.names[-1:]), wire),)
    query = w.arrange(given, (lead, (t.name,), q.names[-3:]))
    layout = (lead, (t.name,), (g.name, r.name, v.names[-1]))
    if keys is None or values is None:
        new = [_heads(w, x, lead, s.name, g.name) for x in sources]
        wire = w.emit("Attention", query.operand, new[0].operand, new[1].operand, mask, **attributes)
        return (Tensor(call.function.output_types[0], layout, wire),)
    new = [_heads(w, x.new, lead, s.name, g.name) for x in (keys, values)]
    past = [_cache(w, x.past, lead, s.name, g.name) for x in (keys, values)]
    operands = (query.operand, new[0].operand, new[1].operand, mask, past[0].operand, past[1].operand)
    wire, *present = w.several("Attention", *operands, outputs=3, **attributes)
    keys.settle(past[0].groups, present[0])
    values.settle(past[1].groups, present[1])
    return (Tensor(call.function.output_types[0], layout, wire),)


def _heads(w: Writer, x: Tensor, lead: tuple[str, ...], s: str, g: str) -> Tensor:
    """[batch, time, heads * width]"""
    return w.arrange(w.fill(x, x.type.names), (lead, (s,), (g, _width(x, (*lead, s, g)))))


def _cache(w: Writer, x: Tensor, lead: tuple[str, ...], s: str, g: str) -> Tensor:
    """[batch, heads, time, width]"""
    return w.arrange(w.fill(x, x.type.names), (lead, (g,), (s,), (_width(x, (*lead, s, g)),)))


def _width(x: Tensor, others: tuple[str, ...]) -> str:
    return next(n for n in x.type.names if n not in others)


Axes = tuple[Axis, ...]


def mask_or_bias(
    w: Writer, seen: Tensor | None, bias: Tensor | None, axes: tuple[Axes, Axes, Axes, Axes], never: float = -np.inf
) -> Operand:
    """A bool mask [batch or 1, 1, T, S], or a float one [batch or 1, heads or 1, T, S] when there is a bias.

    `axes` are those of the batch, the heads, time and history. Nothing when all is seen. `never` is the bias of what is
    not seen.
    """
    if seen is not None and isinstance(seen.wire, np.ndarray) and bool(np.all(seen.wire)):
        seen = None
    if bias is not None and isinstance(bias.wire, np.ndarray) and not np.any(bias.wire):
        bias = None
    if bias is not None and seen is not None:
        both = (*seen.type.axes, *(a for a in bias.type.axes if not seen.type.has(a.name)))
        lowest = Tensor(TensorType(()), (), np.array(never))
        bias = elementwise(w, "where", (seen, bias, lowest), TensorType(both))
    mask = seen if bias is None else bias
    if mask is None:
        return None
    lead, heads, t, s = axes
    mask = replace(mask, type=TensorType((*lead, *heads, *t, *s), mask.type.dtype))
    for wanted in (t, s, lead, heads):
        if wanted in (t, s) or any(a.name in mask.axes for a in wanted):
            mask = w.fill(mask, [a.name for a in wanted])
    parts = ([a.name for a in part] for part in (lead, heads, t, s))
    groups = tuple(tuple(names) if names and names[0] in mask.axes else () for names in parts)
    return w.arrange(mask, groups).operand
