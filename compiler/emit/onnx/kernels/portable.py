"""Norms, activations and rotations as standard operators."""

from __future__ import annotations

from collections.abc import Callable

from .....lang.axes import TensorType
from ..activation import Activation
from ..layout import Tensor, Writer
from .kernel import Declined, Results

Write = Callable[[Writer, Activation], Results]


WHOLE = Declined("it is computed with whole numbers")


def norm(w: Writer, call: Activation, op: str, offset: str | None, **attributes: float) -> Results:
    """A normalisation over the last axis, with the axes of `scale`."""
    epsilon = call.static("eps")
    axes = call.type("scale").names
    wanted = [call.type("x"), call.type("scale"), *([call.type(offset)] if offset else [])]
    if epsilon is None:
        return Declined("`eps` is computed at run time")
    if len(axes) != 1 or any(t.dtype != "real" or not t.has(axes[0]) for t in wanted):
        return Declined("it is no norm of reals along one axis")
    x = w.apart(w.fill(call.tensor("x"), axes), *axes)
    x = w.arrange(x, (*(g for g in x.groups if g != axes), axes))
    parts = ["scale", *([offset] if offset else [])]
    learned = [w.arrange(w.fill(call.tensor(name), axes), (axes,)).operand for name in parts]
    wire = w.emit(op, x.operand, *learned, axis=-1, epsilon=float(epsilon))
    return (Tensor(call.function.output_types[0], x.groups, wire),)


def rms_norm(w: Writer, call: Activation) -> Results:
    return norm(w, call, "RMSNormalization", None)


def layer_norm(w: Writer, call: Activation) -> Results:
    return norm(w, call, "LayerNormalization", "offset")


def activation(op: str, **attributes: str) -> Write:
    def claim(w: Writer, call: Activation) -> Results:
        x = call.tensor("x")
        if x.type.dtype != "real":
            return WHOLE
        return (Tensor(call.function.output_types[0], x.groups, w.emit(op, x.operand, **attributes)),)

    return claim


def silu(w: Writer, call: Activation) -> Results:
    x = call.tensor("x")
    if x.type.dtype != "real":
        return WHOLE
    wire = w.emit("Mul", x.operand, w.emit("Sigmoid", x.operand))
    return (Tensor(call.function.output_types[0], x.groups, wire),)


def rope(w: Writer, call: Activation) -> Results:
    """RotaryEmbedding-23 with a table of angles per position: x [.., T, heads.., K] as [batch, T, heads * K]."""
    x, angle = call.tensor("x"), call.tensor("angle")
    names, turned = call.type("x").names, call.type("angle").names
    t, k = turned[-2] if len(turned) > 1 else "", names[-1]
    if t not in names[:-1] or not set(turned[:-2]) <= set(names[: names.index(t)]) or x.type.dtype != "real":
        return Declined("the angles are not those of every token")
    lead, heads = names[: names.index(t)], names[names.index(t) + 1 : -1]
    count = call.type("x").without(*lead, t, k)
    if not all(a.size.is_constant for a in call.type("x").axes if a.name in (*heads, k)):
        return Declined("the number or the width of heads is not fixed")
    x = w.arrange(w.fill(x, names), (lead, (t,), (*heads, k)))
    type = TensorType((*(call.type("x").axis(n) for n in (*lead, t)), call.type("angle").axes[-1]))
    tables = []
    for op in ("Cos", "Sin"):
        table = Tensor(type, angle.groups, w.emit(op, w.cast(angle, "real").operand))
        tables.append(w.arrange(w.fill(table, type.names), (lead, (t,), turned[-1:])).operand)
    number = 1
    for axis in count.axes:
        number *= axis.size.value
    wire = w.emit("RotaryEmbedding", x.operand, *tables, num_heads=number)
    return (Tensor(call.function.output_types[0], x.groups, wire),)
