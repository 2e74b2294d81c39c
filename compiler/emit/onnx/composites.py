"""Which composites go to which standard operators: the `portable` target. What declines is written from its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....lang.axes import TensorType
from .activation import Activation
from .attention import attend
from .layout import Tensor, Writer
from .plan import ATTEND

Claim = Callable[[Writer, Activation], tuple[Tensor, ...] | None]


def _norm(w: Writer, call: Activation, op: str, offset: str | None, **attributes: float) -> tuple[Tensor, ...] | None:
    """A normalisation over the last axis, with the axes of `scale`."""
    epsilon = call.static("eps")
    axes = call.type("scale").names
    wanted = [call.type("x"), call.type("scale"), *([call.type(offset)] if offset else [])]
    if epsilon is None or len(axes) != 1 or any(t.dtype != "real" or not t.has(axes[0]) for t in wanted):
        return None
    x = w.apart(w.fill(call.tensor("x"), axes), *axes)
    x = w.arrange(x, (*(g for g in x.groups if g != axes), axes))
    parts = ["scale", *([offset] if offset else [])]
    learned = [w.arrange(w.fill(call.tensor(name), axes), (axes,)).operand for name in parts]
    wire = w.emit(op, x.operand, *learned, axis=-1, epsilon=float(epsilon))
    return (Tensor(call.function.output_types[0], x.groups, wire),)


def _rms_norm(w: Writer, call: Activation) -> tuple[Tensor, ...] | None:
    return _norm(w, call, "RMSNormalization", None)


def _layer_norm(w: Writer, call: Activation) -> tuple[Tensor, ...] | None:
    return _norm(w, call, "LayerNormalization", "offset")


def _activation(op: str, **attributes: str) -> Claim:
    def claim(w: Writer, call: Activation) -> tuple[Tensor, ...] | None:
        x = call.tensor("x")
        if x.type.dtype != "real":
            return None
        return (Tensor(call.function.output_types[0], x.groups, w.emit(op, x.operand, **attributes)),)

    return claim


def _silu(w: Writer, call: Activation) -> tuple[Tensor, ...] | None:
    x = call.tensor("x")
    if x.type.dtype != "real":
        return None
    wire = w.emit("Mul", x.operand, w.emit("Sigmoid", x.operand))
    return (Tensor(call.function.output_types[0], x.groups, wire),)


def _rope(w: Writer, call: Activation) -> tuple[Tensor, ...] | None:
    """RotaryEmbedding-23 with a table of angles per position: x [.., T, heads.., K] as [batch, T, heads * K]."""
    x, angle = call.tensor("x"), call.tensor("angle")
    names, turned = call.type("x").names, call.type("angle").names
    t, k = turned[-2] if len(turned) > 1 else "", names[-1]
    if t not in names[:-1] or not set(turned[:-2]) <= set(names[: names.index(t)]) or x.type.dtype != "real":
        return None
    lead, heads = names[: names.index(t)], names[names.index(t) + 1 : -1]
    count = call.type("x").without(*lead, t, k)
    if not all(a.size.is_constant for a in call.type("x").axes if a.name in (*heads, k)):
        return None
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


PORTABLE: Mapping[str, Claim] = {
    ATTEND: attend,
    "weft.nn.rms_norm": _rms_norm,
    "weft.nn.layer_norm": _layer_norm,
    "weft.nn.relu": _activation("Relu"),
    "weft.nn.gelu": _activation("Gelu", approximate="none"),
    "weft.nn.gelu_tanh": _activation("Gelu", approximate="tanh"),
    "weft.nn.silu": _silu,
    "weft.position.rope": _rope,
}
