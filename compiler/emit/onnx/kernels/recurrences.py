"""`linear_attend` as LinearAttention: a matrix of keys and values for each head, updated token by token in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .....lang.axes import Axis, TensorType
from ....passes.recurrences import roles
from ..elementwise import elementwise
from ..layout import Tensor, Writer
from ..scope import Operand
from .kernel import Declined, Results
from .microsoft import DOMAIN

if TYPE_CHECKING:
    from ..activation import Activation

# (whether there is a decay, whether there is a rate) -> what the operator calls it.
_RULES = {(False, False): "linear", (True, False): "gated", (False, True): "delta", (True, True): "gated_delta"}


def linear_attend(w: Writer, call: Activation) -> Results:
    """LinearAttention over q and k [B, T, H K], v [B, T, H U], with a state [B, H, K, U].

    A token that is padding keeps all of the state (its decay is 0) and adds nothing to it (its key is 0).
    """
    statics, names = dict(call.function.statics), call.names
    value, state = call.function.output_types
    axes = roles(call.function)
    (token,) = (n for n in value.names if not state.has(n))
    if not all(state.axis(n).size.is_constant for n in axes.heads):
        return Declined("the number of heads is not fixed")
    mark = call.tensor("mark") if "mark" in names else None
    here = w.cast(mark, "real") if mark is not None else None
    key = _masked(w, here, call.tensor("k"))
    decay: Tensor | None = None
    if "decay" in names:
        decay = _masked(w, here, call.tensor("decay"))
    elif "keep" in names:
        keep = call.tensor("keep")
        if not statics["positive"] and not (isinstance(keep.wire, np.ndarray) and bool(np.all(keep.wire >= 0))):
            return Declined("what is kept of the state may be negative")
        decay = _logarithm(w, keep)
        if mark is not None:  # the logarithm of 0 times 0 would be no number
            nothing = Tensor(TensorType(()), (), np.array(0.0))
            decay = elementwise(w, "where", (mark, decay, nothing), TensorType(_joint(mark, decay)))
    spread = _Spread(w, call, axes.lead, token)
    heads = axes.heads
    short = tuple(n for n in heads if call.type("q").has(n))
    if short != heads[: len(short)] or not short:
        short = heads  # the heads of queries come first, each for as many heads of keys as there are others
    per_key = decay is not None and decay.type.has(axes.key)
    rate = call.tensor("rate") if "rate" in names else None
    operands: list[Operand] = [
        spread(call.tensor("q"), (*short, axes.key)), spread(key, (*heads, axes.key)),
        spread(call.tensor("v"), (*heads, *axes.values)), w.arrange(call.tensor("s"), axes.groups).operand,
        spread(decay, (*heads, axes.key) if per_key else heads) if decay is not None else None,
        spread(rate, heads) if rate is not None else None,
    ]
    rule = _RULES[decay is not None, rate is not None]
    counts = [Tensor(state, (), None).size(part).value for part in (short, heads)]
    y, last = w.several(
        "LinearAttention", *operands, outputs=2, domain=DOMAIN,
        q_num_heads=counts[0], kv_num_heads=counts[1], update_rule=rule, scale=float(statics["scale"]),
    )
    return (
        Tensor(value, (axes.lead, (token,), (*heads, *axes.values)), y),
        Tensor(state, axes.groups, last),
    )


class _Spread:
    """Lays values out as [batch, tokens, some axes], repeated along those that they lack."""

    def __init__(self, w: Writer, call: Activation, lead: tuple[str, ...], token: str) -> None:
        self.w, self.lead, self.token = w, lead, token
        types = (*(t for _, t in call.function.inputs), *call.function.output_types)
        self.axes = {a.name: a for t in types for a in t.axes}

    def __call__(self, x: Tensor, last: tuple[str, ...]) -> Operand:
        names = (*self.lead, self.token, *last)
        type = TensorType(tuple(self.axes[n] for n in names), x.type.dtype)
        whole = self.w.fill(Tensor(type, x.groups, x.wire), names)
        return self.w.arrange(whole, (self.lead, (self.token,), last)).operand


def _logarithm(w: Writer, x: Tensor) -> Tensor:
    if isinstance(x.wire, np.ndarray):
        with np.errstate(divide="ignore"):
            return Tensor(x.type, x.groups, np.asarray(np.log(x.wire)))
    return Tensor(x.type, x.groups, w.emit("Log", x.operand))


def _masked(w: Writer, here: Tensor | None, x: Tensor) -> Tensor:
    """x where a token is, 0 where it is padding."""
    return x if here is None else elementwise(w, "mul", (here, x), TensorType(_joint(here, x)))


def _joint(a: Tensor, b: Tensor) -> tuple[Axis, ...]:
    return (*a.type.axes, *(x for x in b.type.axes if not a.type.has(x.name)))
