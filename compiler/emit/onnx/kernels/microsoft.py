"""Norms with their skip connection, and activations, as operators of ONNX Runtime's own domain."""

from __future__ import annotations

import math

from ..activation import Activation
from ..layout import Tensor, Writer
from .kernel import Declined, Results
from .portable import WHOLE, Write

DOMAIN = "com.microsoft"


def skip_norm(op: str, offset: str | None, bias: bool) -> Write:
    """(x + r [+ bias], its norm) in one pass; the operators take tensors of two or three dimensions."""

    def claim(w: Writer, call: Activation) -> Results:
        epsilon, axes = call.static("eps"), call.type("scale").names
        if epsilon is None:
            return Declined("`eps` is computed at run time")
        if any(call.type(n).dtype != "real" for n in ("x", "r", "scale")) or len(axes) != 1:
            return Declined("it is no norm of reals along one axis")
        if offset is not None and (offset not in call.names or not call.type(offset).has(axes[0])):
            return Declined(f"`{offset}` is no vector along the axis")
        names = call.type("x").names
        if names != call.type("r").names or len(names) < 2 or names[-1] != axes[0]:
            return Declined("what is added has other axes")
        lead = names[:-1]
        groups = ((lead[0],), lead[1:], axes) if len(lead) > 1 else (lead, axes)
        parts = [w.arrange(w.fill(call.tensor(n), names), groups).operand for n in ("x", "r")]
        learned = ["scale", *([offset] if offset else [])]
        vectors = [w.arrange(w.fill(call.tensor(n), axes), (axes,)).operand for n in learned]
        if bias:
            vectors.append(w.arrange(w.fill(call.tensor("bias"), axes), (axes,)).operand)
        outputs = w.several(op, *parts, *vectors, outputs=4, domain=DOMAIN, epsilon=float(epsilon))
        total, normed = call.function.output_types
        return Tensor(total, groups, outputs[3]), Tensor(normed, groups, outputs[0])

    return claim


def quick_gelu(alpha: float | None) -> Write:
    """x sigmoid(alpha x); `alpha` None: the static `by` of the call."""

    def claim(w: Writer, call: Activation) -> Results:
        x = call.tensor("x")
        slope = call.static("by") if alpha is None else alpha
        if slope is None or not math.isfinite(slope):
            return Declined("the slope is computed at run time")
        if x.type.dtype != "real":
            return WHOLE
        wire = w.emit("QuickGelu", x.operand, domain=DOMAIN, alpha=float(slope))
        return (Tensor(call.function.output_types[0], x.groups, wire),)

    return claim


def silu_mul(w: Writer, call: Activation) -> Results:
    """silu(x) y: the gate of most MLPs, in two passes instead of three."""
    x, y = call.tensor("x"), call.tensor("y")
    if x.type.dtype != "real" or y.type.dtype != "real":
        return WHOLE
    if x.axes != y.axes:
        return Declined("both sides have axes of their own")
    y = w.arrange(y, x.groups)
    opened = w.emit("QuickGelu", x.operand, domain=DOMAIN, alpha=1.0)
    return (Tensor(call.function.output_types[0], x.groups, w.emit("Mul", opened, y.operand)),)


def biased(op: str) -> Write:
    """An activation of x + bias, with bias along the last dimension."""

    def claim(w: Writer, call: Activation) -> Results:
        if call.type("x").dtype != "real" or call.type("bias").dtype != "real":
            return WHOLE
        axes = call.type("bias").names
        if len(axes) != 1:
            return Declined("the bias has more than one axis")
        x = w.apart(w.fill(call.tensor("x"), axes), *axes)
        x = w.arrange(x, (*(g for g in x.groups if g != axes), axes))
        bias = w.arrange(w.fill(call.tensor("bias"), axes), (axes,))
        return (Tensor(call.function.output_types[0], x.groups, w.emit(op, x.operand, bias.operand, domain=DOMAIN)),)

    return claim


def fast_gelu(w: Writer, call: Activation) -> Results:
    """The tanh approximation of gelu."""
    x = call.tensor("x")
    if x.type.dtype != "real":
        return WHOLE
    return (Tensor(call.function.output_types[0], x.groups, w.emit("FastGelu", x.operand, domain=DOMAIN)),)
