"""Small modules built by hand, shared by the tests of the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weft.compiler.ir.control import call, repeat, scan
from weft.compiler.ir.graph import Graph, Value
from weft.compiler.ir.module import Function, Init, Instance, Layers, Module, Parameter, Reference, State
from weft.compiler.ir.ops import build, constant
from weft.lang.axes import Axis, TensorType
from weft.lang.sizes import Size


def axis(name: str, size: int | str | None = None) -> Axis:
    """`axis("D", 4)`, `axis("T")`, `axis("S", "T")`."""
    if isinstance(size, int):
        return Axis(name, Size.of(size))
    return Axis(name, Size.symbol(size or name))


def real(*axes: Axis) -> TensorType:
    return TensorType(axes)


def integer(*axes: Axis) -> TensorType:
    return TensorType(axes, "int")


def boolean(*axes: Axis) -> TensorType:
    return TensorType(axes, "bool")


B, T, S, D, F, V = axis("B"), axis("T"), axis("S"), axis("D", 8), axis("F", 12), axis("V", 11)
G, R, K, U = axis("G", 2), axis("R", 2), axis("K", 4), axis("U", 4)


class Body:
    """A function in the making: `body.mul(x, y)` adds a primitive."""

    def __init__(self, **inputs: TensorType) -> None:
        self.graph = Graph()
        self.inputs = tuple(inputs.items())
        self.given = tuple(build(self.graph, "input", name=name, type=type) for name, type in inputs.items())

    def __getattr__(self, op: str) -> Callable[..., Value]:
        return lambda *operands, **attributes: self(op.rstrip("_"), *operands, **attributes)

    def __call__(self, op: str, *operands: Value | float, **attributes: Any) -> Value:
        values = (v if isinstance(v, Value) else constant(self.graph, v) for v in operands)
        return build(self.graph, op, *values, **attributes)

    def param(self, name: str, type: TensorType) -> Value:
        return build(self.graph, "param", name=name, type=type)

    def run(self, callee: Function, *operands: Value, on: Reference | None = None, site: str = "") -> Any:
        """Call a function whose names are those of the caller."""
        results = call(self.graph, callee.name, operands, callee.output_types, site or callee.name, on)
        return results[0] if len(results) == 1 else results

    def done(self, name: str, *outputs: Value, **facts: Any) -> Function:
        self.graph.outputs = outputs
        names = ("value",) if len(outputs) == 1 else tuple(f"value.{i}" for i in range(len(outputs)))
        return Function(name, self.graph, self.inputs, **{"outputs": names, **facts})


def at(*down: str, up: int = 0) -> Reference:
    return Reference(up, down)


def collect(*functions: Function) -> dict[str, Function]:
    return {f.name: f for f in functions}


# ------------------------------------------------------------------ composites of the standard library


def rms_norm(x: TensorType, eps: float = 1e-6, name: str = "rms_norm") -> Function:
    last = x.axes[-1]
    b = Body(x=x, scale=real(last))
    value, scale = b.given
    power = b.rsqrt(b.add(b.mean(b.pow(value, 2), over=(last.name,)), eps))
    result = b.mul(b.mul(value, power), scale)
    return b.done(name, result, definition="weft.nn.rms_norm", statics=(("eps", eps),))


def silu(x: TensorType, name: str = "silu") -> Function:
    b = Body(x=x)
    return b.done(name, b.mul(b.given[0], b.sigmoid(b.given[0])), definition="weft.nn.silu")


def causal() -> Function:
    b = Body(q=integer(T), k=integer(S))
    q, k = b.given
    return b.done("causal", b.le(b.expand(k, axes=(T, S)), q), definition="weft.attention.causal")


def zero() -> Function:
    b = Body(q=integer(T), k=integer(S))
    return b.done("zero", constant(b.graph, 0.0), definition="weft.position.zero")


def attend() -> Function:
    b = Body(q=real(B, T, G, R, K), k=real(B, S, G, K), v=real(B, S, G, U), mask=boolean(T, S), bias=real())
    q, k, v, mask, bias = b.given
    scores = b.add(b.mul(b.dot(q, k, over=("K",)), 0.5), bias)
    mixed = b.dot(b.softmax(scores, mask, over="S"), v, over=("S",))
    return b.done("attend", mixed, definition="weft.attention.attend", statics=(("scale", 0.5),))


# ------------------------------------------------------------------ a decoder


def linear(name: str, x: TensorType, ins: tuple[Axis, ...], outs: tuple[Axis, ...]) -> Function:
    b = Body(x=x)
    weight = b.param("weight", real(*ins, *outs))
    return b.done(name, b.dot(b.given[0], weight, over=tuple(a.name for a in ins)), block="Linear")


def linear_instance(*axes: Axis) -> Instance:
    return Instance("Linear", (Parameter("weight", real(*axes), Init("normal", (("std", 0.02),))),))


def norm_instance() -> Instance:
    return Instance("RMSNorm", (Parameter("scale", real(D), Init("ones")),))


def attention() -> tuple[Function, ...]:
    x = real(B, T, D)
    q = linear("Linear.forward", x, (D,), (G, R, K))
    k = linear("Linear.forward.2", x, (D,), (G, K))
    v = linear("Linear.forward.3", x, (D,), (G, U))
    o = linear("Linear.forward.4", real(B, T, G, R, U), (G, R, U), (D,))
    mask, bias, inner = causal(), zero(), attend()
    b = Body(x=x)
    (given,) = b.given
    keys = b.rename(b.run(k, given, on=at("k"), site="k"), axis="T", to=S)
    values = b.rename(b.run(v, given, on=at("v"), site="v"), axis="T", to=S)
    here, there = b("position", axis=T), b("position", axis=S)
    seen = b.run(mask, here, there, site="mask")
    shift = b.run(bias, here, there, site="bias")
    mixed = b.run(inner, b.run(q, given, on=at("q"), site="q"), keys, values, seen, shift, site="attend")
    result = b.run(o, mixed, on=at("o"), site="o")
    return q, k, v, o, mask, bias, inner, b.done("Attention.forward", result, block="Attention")


def gated_mlp() -> tuple[Function, ...]:
    x = real(B, T, D)
    up = linear("Linear.forward.5", x, (D,), (F,))
    down = linear("Linear.forward.6", real(B, T, F), (F,), (D,))
    act = silu(real(B, T, F))
    b = Body(x=x)
    gate = b.run(act, b.run(up, *b.given, on=at("gate"), site="gate"), site="silu")
    product = b.mul(gate, b.run(up, *b.given, on=at("up"), site="up"))
    result = b.run(down, product, on=at("down"), site="down")
    return up, down, act, b.done("GatedMLP.forward", result, block="GatedMLP")


def decoder(layers: int = 3) -> Module:
    """A small Llama: tied embedding, grouped-query attention without rotation, gated MLP."""
    x = real(B, T, D)
    norm = rms_norm(x)
    b = Body(x=x)
    normed = b.run(norm, *b.given, b.param("scale", real(D)), site="rms_norm")
    norm_forward = b.done("RMSNorm.forward", normed, block="RMSNorm")

    b = Body(ids=integer(B, T))
    embed = b.done("Embedding.forward", b.take(b.param("table", real(V, D)), *b.given, axis="V"), block="Embedding")
    b = Body(x=x)
    logits = b.dot(*b.given, b.param("table", real(V, D)), over=("D",))
    embed_logits = b.done("Embedding.logits", logits, block="Embedding", method="logits")

    attn, mlp = attention(), gated_mlp()
    b = Body(x=x)
    (start,) = b.given
    normed = b.run(norm_forward, start, on=at("attn_norm"), site="attn_norm")
    h = b.add(start, b.run(attn[-1], normed, on=at("attn"), site="attn"))
    normed = b.run(norm_forward, h, on=at("mlp_norm"), site="mlp_norm")
    block = b.done("blocks.forward", b.add(h, b.run(mlp[-1], normed, on=at("mlp"), site="mlp")), block="blocks")

    b = Body(tokens=integer(B, T))
    start = b.run(embed, *b.given, on=at("embed"), site="embed")
    (h,) = repeat(b.graph, (block.name,), (0,) * layers, (start,), (x,), "blocks", at("blocks"), 1, 0)
    h = b.run(norm_forward, h, on=at("norm"), site="norm")
    entry = b.done("Quick.forward", b.run(embed_logits, h, on=at("embed"), site="logits"), block="Quick")

    parts = (
        ("attn_norm", norm_instance()),
        ("attn", Instance("Attention", (), (
            ("q", linear_instance(D, G, R, K)), ("k", linear_instance(D, G, K)), ("v", linear_instance(D, G, U)),
            ("o", linear_instance(G, R, U, D)),
        ))),
        ("mlp_norm", norm_instance()),
        ("mlp", Instance("GatedMLP", (), (
            ("gate", linear_instance(D, F)), ("up", linear_instance(D, F)), ("down", linear_instance(F, D)),
        ))),
    )
    table = Parameter("table", real(V, D), Init("normal", (("std", 0.02),)))
    root = Instance("Quick", (), (
        ("embed", Instance("Embedding", (table,))),
        ("blocks", Layers((Instance("blocks", (), parts),), (0,) * layers)),
        ("norm", norm_instance()),
    ))
    functions = collect(entry, embed, block, norm_forward, norm, *attn, *mlp, embed_logits)
    return Module("Quick", functions, entry.name, root, ("T", "S"), "full", "B", "T")


# ------------------------------------------------------------------ other shapes of modules


def single(function: Function, *others: Function, name: str = "Demo", root: Instance | None = None) -> Module:
    """A module whose entry is one function."""
    return Module(name, collect(function, *others), function.name, root or Instance(name))


def recurrence() -> Module:
    """A decayed sum over time, written as a scan."""
    b = Body(s=real(B, D), x=real(B, D), keep=real(D))
    s, x, keep = b.given
    total = b.add(b.mul(s, b.sigmoid(keep)), x)
    step = b.done("scan", total, b.tanh(total), outputs=("value.0", "value.1"))
    b = Body(x=real(B, T, D))
    keep = b.param("keep", real(D))
    start = b.expand(constant(b.graph, 0.0), axes=(B, D))
    out, _ = scan(b.graph, step.name, T, (start,), b.given, (keep,), (real(B, D), real(B, D)))
    entry = b.done("Decay.forward", out, block="Decay")
    root = Instance("Decay", (Parameter("keep", real(D), Init("zeros")),))
    return Module("Decay", collect(step, entry), entry.name, root, ("T", "S"), "full", "B", "T")


def differing_layers() -> Module:
    """Four layers of two kinds, one with a penalty that is summed over them."""
    x = real(B, D)
    bodies = []
    for name, op in (("blocks.forward", "tanh"), ("blocks.forward.2", "sigmoid")):
        b = Body(x=x, y=real(D))
        h = b.add(b(op, b.mul(b.given[0], b.param("scale", real(D)))), b.given[1])
        cost = b.mean(b.pow(h, 2), over=("B", "D"))
        bodies.append(b.done(name, h, cost, outputs=("value", "penalty.size"), block="blocks"))
    b = Body(x=x, y=real(D))
    schedule = (0, 1, 0, 1)
    names = tuple(f.name for f in bodies)
    h, cost = repeat(b.graph, names, schedule, b.given, (x, real()), "blocks", at("blocks"), 1, 1)
    entry = b.done("Mixed.forward", h, cost, outputs=("value", "penalty.size"), block="Mixed")
    layer = [Instance("blocks", (Parameter("scale", real(D), Init("constant", (("value", v),))),)) for v in (1.0, 2.0)]
    root = Instance("Mixed", (), (("blocks", Layers(tuple(layer), schedule)),))
    return Module("Mixed", collect(*bodies, entry), entry.name, root, None, "full", "B", "")


def shifting_step() -> Module:
    """A step program with a state: the token before this one."""
    b = Body(x=real(B, T, D))
    (x,) = b.given
    before = b("state", name="before", type=real(B, axis("T", 1), D))
    blended = b.add(b.shift(x, before, axis="T", by=1), x)
    joined = b.append(before, x, axis="T", to=Axis("T_", Size.symbol("T") + Size.of(1)))
    kept = b.last(joined, axis="T_", to=axis("T", 1))
    state = State("before", "delay", real(B, axis("T", 1), D), kept, "T", 1)
    entry = b.done("Shift.forward", blended, block="Shift", states=(state,))
    return Module("Shift", collect(entry), entry.name, Instance("Shift"), ("T", "S"), "step", "B", "T")


EVERY: dict[str, Callable[[], Module]] = {
    "decoder": decoder, "recurrence": recurrence, "differing layers": differing_layers, "step": shifting_step,
}
