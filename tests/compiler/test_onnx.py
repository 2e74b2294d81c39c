"""Modules as ONNX: every primitive and composite against the reference, and what the emitted model looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import weft
from numpy.typing import NDArray
from weft.compiler.emit.onnx import build, describe_onnx, targets, to_onnx
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.control import repeat
from weft.compiler.ir.graph import Value
from weft.compiler.ir.module import Init, Instance, Layers, Module, Parameter
from weft.compiler.stream import rows, step
from weft.lang.axes import Axis, TensorType
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.sizes import Size
from weft.lang.source import Source

from . import modules
from .modules import B, Body, D, F, G, K, R, S, T, U, V, at, axis, boolean, collect, integer, real, single
from .onnx_support import agree, checked, every_node, operators, run_onnx

X = real(B, T, D)
Make = Callable[[Body], Value]
GENERATOR = np.random.default_rng(0)


def arrays(inputs: Mapping[str, TensorType], **symbols: int) -> dict[str, NDArray]:
    """Random inputs: ints from -7 to 7, reals of order 1, bools."""
    generator = np.random.default_rng(7)
    sizes = {"B": 2, "T": 5, "S": 5, **symbols}
    found = {}
    for name, type in inputs.items():
        shape = tuple(a.size.evaluate(sizes) for a in type.axes)
        draws = {
            "real": lambda shape=shape: generator.standard_normal(shape) * 2,
            "int": lambda shape=shape: generator.integers(-7, 8, shape),
            "bool": lambda shape=shape: generator.random(shape) < 0.6,
        }
        found[name] = draws[type.dtype]()
    return found


def function(make: Make, **inputs: TensorType) -> Module:
    body = Body(**inputs)
    return single(body.done("Demo.forward", make(body)))


def mixed(op: str, **attributes: object) -> Make:
    return lambda b: b(op, *b.given, **attributes)


E_ = axis("E", 6)
REAL = {"x": X, "y": real(D, B)}
WHOLE = {"x": integer(B, T, D), "y": integer(D, B)}

PRIMITIVES: dict[str, tuple[Make, dict[str, TensorType]]] = {
    **{op: (mixed(op), REAL) for op in ("add", "sub", "mul", "div", "minimum", "maximum", "mod", "floordiv")},
    **{f"{op} of ints": (mixed(op), WHOLE) for op in ("add", "sub", "mul", "minimum", "maximum")},
    "div of ints": (lambda b: b.div(b.given[0], b.add(b.mul(b.given[1], 2), 1)), WHOLE),
    **{op: (mixed(op), WHOLE) for op in ("eq", "ne", "lt", "le", "gt", "ge")},
    "compare an int with a real": (mixed("lt"), {"x": integer(B, T), "y": real(T, D)}),
    "mod of ints": (mixed("mod"), WHOLE),
    "floordiv of ints": (mixed("floordiv"), WHOLE),
    "floordiv by a number": (lambda b: b.floordiv(b.given[0], 3), {"x": integer(B, T)}),
    "mod by a number": (lambda b: b.mod(b.given[0], 3), {"x": integer(B, T)}),
    **{op: (mixed(op), {"x": X}) for op in ("neg", "abs", "exp", "sin", "cos", "tanh", "sigmoid", "erf", "floor")},
    "neg of ints": (mixed("neg"), {"x": integer(B, T)}),
    "exp of ints": (mixed("exp"), {"x": integer(B, T)}),
    **{op: (lambda b, op=op: b(op, b.add(b.abs(b.given[0]), 0.1)), {"x": X}) for op in ("log", "sqrt", "rsqrt")},
    "square": (lambda b: b.pow(b.given[0], 2), {"x": X}),
    "cube": (lambda b: b.pow(b.given[0], 3.0), {"x": X}),
    "power": (lambda b: b.pow(2.0, b.given[0]), {"x": X}),
    "power of ints": (lambda b: b.pow(*b.given), {"x": integer(B, T), "y": integer(T)}),
    "logic": (
        lambda b: b.or_(b.and_(*b.given), b.not_(b.given[1])), {"x": boolean(B, T), "y": boolean(T, D)},
    ),
    "where": (mixed("where"), {"c": boolean(B, T), "x": real(T, D), "y": real(D)}),
    "where of int and real": (mixed("where"), {"c": boolean(B, T), "x": integer(T), "y": real(B)}),
    "where of bools": (mixed("where"), {"c": boolean(B, T), "x": boolean(T), "y": boolean(B)}),
    "sum": (mixed("sum", over=("T",)), {"x": X}),
    "sum over what does not vary": (
        lambda b: b.sum(b.expand(b.given[0], axes=(B, T, D)), over=("T", "D")), {"x": real(B), "t": integer(T)},
    ),
    "sum of all": (mixed("sum", over=("B", "T", "D")), {"x": X}),
    "sum of ints": (mixed("sum", over=("B",)), {"x": integer(B, T)}),
    "mean": (mixed("mean", over=("D", "B")), {"x": X}),
    "mean of ints": (mixed("mean", over=("T",)), {"x": integer(B, T)}),
    "max": (mixed("max", over=("D",)), {"x": X}),
    "min of ints": (mixed("min", over=("B", "T")), {"x": integer(B, T, D)}),
    "mean over part of a merged dimension": (
        lambda b: b.mean(b.split(b.given[0], axis="D", into=(axis("P", 2), axis("Q", 4))), over=("P",)), {"x": X},
    ),
    "argmax": (mixed("argmax", over=("D",)), {"x": X}),
    "argmax of ints, with ties": (mixed("argmax", over=("T",)), {"x": integer(B, T)}),
    "softmax": (mixed("softmax", over="D"), {"x": X}),
    "softmax along another axis": (mixed("softmax", over="T"), {"x": X}),
    "softmax under a mask": (mixed("softmax", over="S"), {"x": real(B, T, S), "m": boolean(T, S)}),
    "softmax under a mask with more axes": (mixed("softmax", over="S"), {"x": real(S), "m": boolean(B, T, S)}),
    "top": (mixed("top", over="D", count=3), {"x": X}),
    "top of ints, with ties": (mixed("top", over="D", count=3), {"x": integer(B, T, D)}),
    "top along another axis": (mixed("top", over="B", count=1), {"x": X}),
    "max under a mask": (mixed("max", over=("S",)), {"x": real(B, T, S), "m": boolean(T, S)}),
    "max of ints under a mask": (mixed("max", over=("S",)), {"x": integer(B, S), "m": boolean(T, S)}),
    "max over two axes under a mask": (mixed("max", over=("S", "B")), {"x": real(B, T, S), "m": boolean(T, S)}),
    "max under a mask of other axes": (mixed("max", over=("S",)), {"x": real(B, S), "m": boolean(T)}),
    "argmax under a mask": (mixed("argmax", over=("S",)), {"x": integer(B, S), "m": boolean(T, S)}),
    "top under a mask": (mixed("top", over="S", count=2), {"x": real(S), "m": boolean(B, T, S)}),
    "top of ints under a mask": (mixed("top", over="S", count=2), {"x": integer(B, T, S), "m": boolean(T, S)}),
    "top of fewer": (mixed("top", over="S", count=9), {"x": real(B, S), "m": boolean(T, S)}),
    "cumsum": (mixed("cumsum", axis="T"), {"x": X}),
    "cumsum along another axis": (mixed("cumsum", axis="D"), {"x": X}),
    "cumsum of bools": (mixed("cumsum", axis="T"), {"x": boolean(B, T)}),
    "take": (mixed("take", axis="V"), {"x": real(V, D), "i": integer(B, T)}),
    "take along an inner axis": (mixed("take", axis="V"), {"x": real(D, V), "i": integer(B, T)}),
    "take with shared axes": (mixed("take", axis="V"), {"x": real(T, V, B, D), "i": integer(B, T)}),
    "take with shared and own axes": (mixed("take", axis="V"), {"x": real(B, V, D), "i": integer(T, B)}),
    "take along a symbolic axis": (mixed("take", axis="T"), {"x": X, "i": integer(B, E_)}),
    "split and select": (
        lambda b: b.select(b.split(b.given[0], axis="D", into=(axis("P", 2), axis("Q", 4))), axis="P", at=1), {"x": X},
    ),
    "split and select the inner": (
        lambda b: b.select(b.split(b.given[0], axis="D", into=(axis("P", 2), axis("Q", 4))), axis="Q", at=2), {"x": X},
    ),
    "merge what lies apart": (mixed("merge", axes=("D", "B"), into=Axis("M", Size.symbol("B") * Size.of(8))), {"x": X}),
    "merge what lies together": (
        lambda b: b.merge(
            b.split(b.given[0], axis="D", into=(axis("P", 2), axis("Q", 4))), axes=("P", "Q"), into=axis("M", 8)
        ),
        {"x": X},
    ),
    "merge in the other order": (
        lambda b: b.merge(
            b.split(b.given[0], axis="D", into=(axis("P", 2), axis("Q", 4))), axes=("Q", "P"), into=axis("M", 8)
        ),
        {"x": X},
    ),
    "slice": (mixed("slice", axis="D", start=2, to=axis("M", 3)), {"x": X}),
    "slice of groups": (
        lambda b: b.slice(
            b.split(b.given[0], axis="D", into=(axis("P", 4), axis("Q", 2))), axis="P", start=1, to=axis("M", 2)
        ),
        {"x": X},
    ),
    "concat": (mixed("concat", axis="D", to=axis("M", 20)), {"x": real(B, D), "y": real(axis("D", 12), B)}),
    "concat with what does not vary": (
        lambda b: b.concat(b.given[0], b.expand(b.given[1], axes=(B, D)), axis="D", to=axis("M", 16)),
        {"x": real(B, D), "y": real(B)},
    ),
    "stack": (mixed("stack", axis=axis("P", 2)), {"x": X, "y": X}),
    "stack, transposed and merged": (
        lambda b: b.merge(b.stack(*b.given * 2, axis=axis("P", 2)), axes=("P", "D"), into=axis("M", 16)),
        {"x": X},
    ),
    "expand": (lambda b: b.expand(b.given[0], axes=(F, T, B, D)), {"x": real(B, D), "t": integer(T)}),
    "transpose": (mixed("expand", axes=(D, T, B)), {"x": X}),
    "rename": (mixed("rename", axis="D", to=axis("M", 8)), {"x": X}),
    "cast to int": (mixed("cast", dtype="int"), {"x": X}),
    "cast to bool": (mixed("cast", dtype="bool"), {"x": integer(B, T)}),
    "cast to real": (mixed("cast", dtype="real"), {"x": boolean(B, T)}),
    "shift": (mixed("shift", axis="T", by=2), {"x": X}),
    "shift by more than there is": (mixed("shift", axis="T", by=9), {"x": X}),
    "shift of ints": (mixed("shift", axis="B", by=1), {"x": integer(B, T)}),
    "shift that looks ahead": (mixed("shift", axis="T", by=-2), {"x": X}),
    "shift that looks ahead of all": (mixed("shift", axis="T", by=-9), {"x": X}),
    "delays": (mixed("delays", axis="T", to=axis("W", 3)), {"x": X}),
    "delays of one": (mixed("delays", axis="T", to=axis("W", 1)), {"x": X}),
    "delays further than there is": (mixed("delays", axis="T", to=axis("W", 9)), {"x": integer(B, T)}),
    "delays after what is remembered": (
        mixed("delays", axis="T", to=axis("W", 3)), {"x": X, "before": real(D, B, axis("T", 2))},
    ),
    "size": (lambda b: b.div(b.given[0], b("size", axis=T)), {"x": X}),
    "append": (
        mixed("append", axis="T", to=axis("N", "N")), {"x": real(B, axis("T", 3), D), "y": real(B, D, axis("T", 2))},
    ),
    "last": (mixed("last", axis="T", to=axis("T", 2)), {"x": X}),
    "last of fewer": (mixed("last", axis="T", to=axis("T", 9)), {"x": X}),
    "index": (lambda b: b.mul(b.given[0], b("index", axis=D)), {"x": X}),
    "index of a symbolic axis": (lambda b: b.mul(b.given[0], b("index", axis=T)), {"x": X}),
    "position": (lambda b: b.add(b.given[0], b("position", axis=T)), {"x": X}),
    "numbers alone": (lambda b: b.mul(b.given[0], b.pow(10.0, b.div(b.neg(b("index", axis=D)), 8.0))), {"x": X}),
    "a result that is a number": (lambda b: b.expand(b.add(1.0, 2.0), axes=(B, D)), {"x": X}),
}


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_means_the_same_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    make, inputs = PRIMITIVES[name]
    agree(function(make, **inputs), arrays(inputs), {}, tmp_path / "out")


# name -> types of both operands, contracted axes
DOTS: dict[str, tuple[TensorType, TensorType, tuple[str, ...]]] = {
    "matrix": (X, real(D, F), ("D",)),
    "matrix on the left": (real(F, D), X, ("D",)),
    "several axes in and out": (real(B, T, G, K), real(G, K, F, R), ("G", "K")),
    "axes in another order": (real(B, T, K, G), real(G, K, F), ("G", "K")),
    "vector": (X, real(D), ("D",)),
    "two vectors": (real(D), real(D), ("D",)),
    "all of it": (X, X, ("B", "T", "D")),
    "scores": (real(B, T, G, R, K), real(B, S, G, K), ("K",)),
    "mix": (real(B, G, R, T, S), real(B, S, G, U), ("S",)),
    "experts in": (X, real(E_, D, F), ("D",)),
    "experts out": (real(B, T, E_, F), real(E_, F, D), ("F",)),
    "experts chosen": (real(B, T, E_), real(B, T, E_, D), ("E",)),
    "experts chosen, other order": (real(B, T, E_), real(B, E_, T, D), ("E",)),
    "matrix times vector": (real(B, T, D), real(B, D), ("D",)),
    "vector times matrix": (real(B, K), real(B, K, U), ("K",)),
    "vector times transposed matrix": (real(B, K), real(B, U, K), ("K",)),
    "outer, then summed": (real(T, B), real(D, B), ("B",)),
    "table": (X, real(V, D), ("D",)),
}


@pytest.mark.parametrize("name", DOTS)
def test_a_contraction_of_two_inputs_is_a_matmul(name: str, tmp_path: Path) -> None:
    a, b, over = DOTS[name]
    model = agree(function(mixed("dot", over=over), a=a, b=b), arrays({"a": a, "b": b}), {}, tmp_path / "out")
    assert "Einsum" not in operators(model)


@pytest.mark.parametrize("name", [n for n, (_, b, _) in DOTS.items() if all(x.size.is_constant for x in b.axes)])
def test_a_contraction_with_a_parameter_needs_no_transpose_and_no_reshape_of_it(name: str, tmp_path: Path) -> None:
    a, b, over = DOTS[name]
    body = Body(a=a)
    root = Instance("Demo", (Parameter("w", b, Init("normal")),))
    demo = body.done("Demo.forward", body.dot(body.given[0], body.param("w", b), over=over))
    module = single(demo, root=root)
    model = agree(module, arrays({"a": a}), random_weights(module), tmp_path / "out")
    readers = [n.op_type for n in every_node(model) if "w" in n.input]
    assert set(readers) <= {"MatMul", "Mul"}, readers


def test_ints_are_divided_towards_minus_infinity_and_by_zero_give_zero(tmp_path: Path) -> None:
    inputs = {"x": integer(B, T), "y": integer(B, T)}
    given = {"x": np.array([[-7, 7, -7, 7, 5]] * 2), "y": np.array([[2, -2, -2, 2, 0]] * 2)}
    quotient = function(mixed("floordiv"), **inputs)
    agree(quotient, given, {}, tmp_path / "quotient")
    agree(function(mixed("mod"), **inputs), given, {}, tmp_path / "remainder")
    np.testing.assert_array_equal(run_onnx(tmp_path / "quotient", given)[0][0], [-4, -4, 3, 3, 0])


def test_a_row_without_any_entry_is_zero_in_softmax(tmp_path: Path) -> None:
    module = function(mixed("softmax", over="S"), x=real(T, S), m=boolean(T, S))
    given = {"x": GENERATOR.standard_normal((5, 5)), "m": np.tril(np.ones((5, 5), bool), -1)}
    agree(module, given, {}, tmp_path / "out")
    assert not run_onnx(tmp_path / "out", given)[0][0].any()


def test_of_equal_values_the_first_are_chosen(tmp_path: Path) -> None:
    given = {"x": np.zeros((2, 5, 8))}
    agree(function(mixed("top", over="D", count=3), x=X), given, {}, tmp_path / "top")
    np.testing.assert_array_equal(run_onnx(tmp_path / "top", given)[0][0, 0], [True] * 3 + [False] * 5)


# ------------------------------------------------------------------ composites


def composite(text: str, parameters: str, call: str) -> Module:
    """A model that applies one composite; `tokens` only gives the sizes."""
    source = f"""
use nn: rms_norm, layer_norm, gelu, gelu_tanh, silu, relu
use attention: attend, causal
use position: rope, ALiBi
model Demo(V: dim = 11, D: dim = 8, G: dim = 2, R: dim = 2, K: dim = 4, U: dim = 6) {{
  stream T as S
  dim J = K / 2
  param table: [V, D] = normal(std = 1.0)
  {parameters}
  forward(tokens: int[B, T]) -> {text} {{
    x = take(table, tokens, V)
    {call}
  }}
}}
"""
    program = load_source(Source("demo.llm", source))
    assert not program.diagnostics, program.diagnostics
    return weft.compile(program, "Demo")


ATTEND = """q = dot(x, wq, D)
    k = dot(x, wk, D) |> rename(T -> S)
    v = dot(x, wv, D) |> rename(T -> S)
    attend(q, k, v, {mask}, {bias}, 0.4)"""
HEADS = """param wq: [D, G, R, K] = normal(std = 1.0)
  param wk: [D, G, K] = normal(std = 1.0)
  param wv: [D, G, U] = normal(std = 1.0)
  alibi = ALiBi(G)"""
OUT = "[B, T, G, R, U]"

COMPOSITES: dict[str, tuple[str, str, str, str]] = {
    "RMSNormalization": ("[B, T, D]", "param g: [D] = ones", "rms_norm(x, g, 1e-3)", "RMSNormalization"),
    "LayerNormalization": (
        "[B, T, D]", "param g: [D] = ones\n  param o: [D] = zeros", "layer_norm(x, g, o, 1e-3)", "LayerNormalization",
    ),
    "gelu": ("[B, T, D]", "", "gelu(x)", "Gelu"),
    "gelu_tanh": ("[B, T, D]", "", "gelu_tanh(x)", "Gelu"),
    "silu": ("[B, T, D]", "", "silu(x)", "Sigmoid"),
    "relu": ("[B, T, D]", "", "relu(x)", "Relu"),
    "rope of heads": (
        "[B, T, G, K]", "param w: [D, G, K] = normal(std = 1.0)",
        "rope(dot(x, w, D), position(T) * 10.0 ^ (-index(J)))", "RotaryEmbedding",
    ),
    "causal": (OUT, HEADS, ATTEND.format(mask="causal(position(T), position(S))", bias="0.0"), "Attention"),
    "with a bias": (
        OUT, HEADS,
        ATTEND.format(mask="causal(position(T), position(S))", bias="alibi(position(T), position(S))"), "Attention",
    ),
    "rows without an entry": (OUT, HEADS, ATTEND.format(mask="position(T) - 1 > position(S)", bias="0.0"), "Attention"),
    "rows without an entry, with a bias": (
        OUT, HEADS,
        ATTEND.format(mask="position(T) - 1 > position(S)", bias="alibi(position(T), position(S))"), "Attention",
    ),
}


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Takes all kernels away, so that composites are written from their bodies."""
    bare = replace(targets.TARGETS["portable"], kernels={})
    yield lambda: monkeypatch.setitem(targets.TARGETS, "portable", bare)


@pytest.mark.parametrize("name", COMPOSITES)
def test_a_composite_becomes_an_operator_that_means_what_its_body_means(
    name: str, tmp_path: Path, claims: Callable[[], None]
) -> None:
    text, parameters, call, operator = COMPOSITES[name]
    module = composite(text, parameters, call)
    weights, tokens = random_weights(module), GENERATOR.integers(0, 11, (2, 6))
    model = agree(module, {"tokens": tokens}, weights, tmp_path / "claimed")
    assert operators(model).count(operator) == 1
    claims()
    model = agree(module, {"tokens": tokens}, weights, tmp_path / "inlined")
    assert operator == "Sigmoid" or operator not in operators(model)
    claimed, inlined = (run_onnx(tmp_path / n, {"tokens": tokens})[0] for n in ("claimed", "inlined"))
    np.testing.assert_allclose(claimed, inlined, rtol=1e-3, atol=1e-4)


LEADING: dict[str, tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]]] = {
    "none": ((), (), ()),
    "two": ((B, axis("N", 3)), (B, axis("N", 3)), (B, axis("N", 3))),
    "two, the mask has one of them": ((B, axis("N", 3)), (B, axis("N", 3)), (B,)),
    "two symbols": ((B, axis("N")), (B, axis("N")), (axis("N"),)),
}


@pytest.mark.parametrize("name", LEADING)
@pytest.mark.parametrize("biased", [False, True])
def test_attention_takes_any_leading_axes(name: str, biased: bool, tmp_path: Path) -> None:
    lead, inner, masked = LEADING[name]
    types = {
        "q": real(*lead, T, G, R, K), "k": real(*inner, S, G, K), "v": real(*inner, S, G, U),
        "mask": boolean(*masked, T, S), "bias": real(G, T, S) if biased else real(),
    }
    b = Body(**types)
    q, k, v, mask, bias = b.given
    scores = b.add(b.mul(b.dot(q, k, over=("K",)), 0.5), bias)
    result = b.dot(b.softmax(scores, mask, over="S"), v, over=("S",))
    inner_function = b.done("attend", result, definition="weft.attention.attend", statics=(("scale", 0.5),))
    b = Body(**{n: t for n, t in types.items() if n != "bias" or biased})
    given = b.given if biased else (*b.given, b("const", value=0.0, type=real()))
    module = single(b.done("Demo.forward", b.run(inner_function, *given)), inner_function)
    inputs = {n: t for n, t in types.items() if n != "bias" or biased}
    model = agree(module, arrays(inputs, N=3, S=6), {}, tmp_path / "out")
    assert "Attention" in operators(model)


# ------------------------------------------------------------------ modules


@pytest.mark.parametrize("name", [n for n in modules.EVERY if n != "step"])
def test_a_module_built_by_hand_agrees_with_the_reference(name: str, tmp_path: Path) -> None:
    module = modules.EVERY[name]()
    generator = np.random.default_rng(3)
    sizes = {"B": 2, "T": 5}
    given = {
        n: generator.integers(0, 11, [a.size.evaluate(sizes) for a in t.axes]) if t.dtype == "int"
        else generator.standard_normal([a.size.evaluate(sizes) for a in t.axes])
        for n, t in module.main.inputs
    }
    agree(module, given, random_weights(module), tmp_path / "out")


def test_equal_layers_share_a_function_and_layers_that_differ_have_their_own() -> None:
    alike, mixed_layers = build(modules.decoder(5)).model, build(modules.differing_layers()).model
    assert [f.name for f in alike.functions] == ["blocks_forward"]
    assert [n.op_type for n in alike.graph.node].count("blocks_forward") == 5
    assert [f.name for f in mixed_layers.functions] == ["blocks_forward", "blocks_forward_2"]
    order = [n.op_type for n in mixed_layers.graph.node if n.domain]
    assert order == ["blocks_forward", "blocks_forward_2"] * 2


def test_eighty_layers_cost_a_call_each() -> None:
    few, many = (step(modules.decoder(n), rows=True) for n in (1, 81))
    growth = (build(many).model.ByteSize() - build(few).model.ByteSize()) / 80
    assert growth < 2500
    assert len(build(many).model.functions) == 1


def test_what_all_layers_compute_alike_is_computed_once_outside_of_them() -> None:
    program = weft.load(Path(weft.__file__).parent / "examples" / "quickstart.llm")
    model = build(step(weft.compile(program, "Quick"), rows=True)).model
    inner = {n.op_type for n in model.functions[0].node}
    assert not inner & {"Cos", "Sin", "CumSum", "LessOrEqual", "Range", "Transpose", "Reshape"}
    assert [n.op_type for n in model.graph.node].count("Cos") == 1
    assert sum(n.op_type != "Constant" for n in model.functions[0].node) <= 17


def test_nested_repeats_and_parameters_from_outside_reach_the_right_layers(tmp_path: Path) -> None:
    inner = Body(x=real(B, D))
    shift = inner.run(shared := _shift(), inner.given[0], on=at("shared", up=4), site="shared")
    inner_body = inner.done("inner", inner.tanh(inner.mul(shift, inner.param("scale", real(D)))))
    outer = Body(x=real(B, D))
    (h,) = repeat(outer.graph, ("inner",), (0, 0), outer.given, (real(B, D),), "deep", at("deep"), 1, 0)
    outer_body = outer.done("outer", outer.add(h, outer.param("offset", real(D))))
    entry = Body(x=real(B, D))
    (h,) = repeat(entry.graph, ("outer",), (0, 0, 0), entry.given, (real(B, D),), "blocks", at("blocks"), 1, 0)
    main = entry.done("Nest.forward", h)
    low = Instance("inner", (Parameter("scale", real(D), Init("ones")),))
    high = Instance("outer", (Parameter("offset", real(D), Init("zeros")),), (("deep", Layers((low,), (0, 0))),))
    extra = Instance("shared", (Parameter("by", real(D), Init("zeros")),))
    root = Instance("Nest", (), (("shared", extra), ("blocks", Layers((high,), (0, 0, 0)))))
    module = Module("Nest", collect(main, outer_body, inner_body, shared), main.name, root, None, "full", "B", "")
    model = agree(module, {"x": GENERATOR.standard_normal((3, 8))}, random_weights(module), tmp_path / "out")
    assert [f.name for f in model.functions] == ["inner", "outer"]


def _shift() -> modules.Function:
    b = Body(x=real(B, D))
    return b.done("shared", b.add(b.given[0], b.param("by", real(D))), block="shared")


def test_a_tied_table_is_stored_once_and_read_as_it_lies(tmp_path: Path) -> None:
    module = modules.decoder()
    model = agree(module, {"tokens": GENERATOR.integers(0, 11, (2, 5))}, random_weights(module), tmp_path / "out")
    assert sorted(n.op_type for n in every_node(model) if "embed.table" in n.input) == ["Gather", "Gemm"]
    (table,) = (t for t in model.graph.initializer if t.name == "embed.table")
    assert list(table.dims) == [11, 8]


def test_an_operation_without_an_onnx_form_is_named() -> None:
    body = Body(x=real(B, D))
    body.graph.outputs = body.graph.add("frobnicate", body.given, (real(B, D),))
    with pytest.raises(WeftError) as caught:
        build(single(body.done("Demo.forward", *body.graph.outputs)))
    assert caught.value.diagnostics[0].code == "E0930"
    assert "`frobnicate`" in caught.value.diagnostics[0].title


def test_the_summary_folds_layers_and_counts_operators(tmp_path: Path) -> None:
    module = step(modules.decoder(), rows=True)
    to_onnx(module, random_weights(module), tmp_path / "out")
    text = describe_onnx(tmp_path / "out")
    assert text == describe_onnx(build(module).model)
    assert "past_key_values.*.key: float [batch, 2, past, 4]  x 3" in text
    assert "blocks_forward (called 3 times)" in text
    assert "Attention 1" in text


# ------------------------------------------------------------------ whole models

TINY = """
use models.llama: Llama3
use models.gpt2: GPT2
use models.mistral: Mistral
use models.mixtral: Mixtral
use models.rwkv: RWKV
use models.bert: Bert
model TinyLlama3 = Llama3 with {
  V = 31
  D = 16
  F = 24
  H = 4
  G = 2
  layers = 2
}
model TinyMixtral = Mixtral with {
  V = 31
  D = 16
  F = 24
  H = 4
  G = 2
  layers = 2
}
model TinyMistral = Mistral with {
  V = 31
  D = 16
  F = 24
  H = 4
  G = 2
  layers = 2
}
model TinyGPT2 = GPT2 with {
  V = 31
  D = 16
  H = 4
  layers = 2
}
model TinyRWKV = RWKV with {
  V = 31
  D = 16
  F = 24
  H = 4
  layers = 2
}
model TinyBert = Bert with {
  V = 31
  D = 16
  H = 4
  layers = 2
}
"""


@pytest.mark.parametrize("name", ["TinyLlama3", "TinyMixtral", "TinyMistral", "TinyGPT2", "TinyRWKV", "TinyBert"])
def test_a_model_of_the_library_satisfies_the_checker(name: str, tmp_path: Path) -> None:
    module = weft.compile(load_source(Source("tiny.llm", TINY)), name)
    form = step(module, rows=True) if module.stream else rows(module)
    to_onnx(form, random_weights(module), tmp_path / "out")
    model = checked(tmp_path / "out")
    encoder = name == "TinyBert"  # it takes the types of its tokens as well
    assert [f.name for f in model.functions] == ["EncoderLayer_forward" if encoder else "Block_forward"]
    ports = [i.name for i in model.graph.input]
    assert ports[: 3 if encoder else 2] == ["input_ids", *["token_type_ids"] * encoder, "attention_mask"]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    assert inferred.graph.output[0].type.tensor_type.shape.dim[2].dim_value == 31
