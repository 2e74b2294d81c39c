"""Packed matrices in the kernels of ONNX Runtime, against float64 of the values that the codes stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from weft.compiler.quantization.codes import Quantized, dequantized
from weft.compiler.quantization.gptq import quantize_gptq
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.packing import bnb4, gather_block, int8_columns, nbits, packed, qmoe
from weft.compiler.quantization.scheme import NF4, Grouped, PerColumn

EXACT = 1e-6
"""Relative to the largest output: sums in float32."""
INT8_INPUTS = 8e-3
"""The same for activations that the kernel quantizes to int8, per block."""
TWO_LAYERS = 2.5 * INT8_INPUTS
"""The same through three such products, two of which are multiplied."""
ONE_SCALE = 2e-2
"""The same for activations with one scale for the whole tensor."""


def drawn(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ran(
    nodes: list,
    feeds: Mapping[str, NDArray],
    constants: Mapping[str, NDArray | None],
    outputs: tuple[str, ...] = ("y",),
) -> list[NDArray]:
    """The outputs of a small graph, float32."""
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    initializers = [numpy_helper.from_array(a, n) for n, a in constants.items() if a is not None]
    graph = helper.make_graph(nodes, "graph", inputs, results, initializers)
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def node(operator: str, inputs: list[str], outputs: tuple[str, ...] = ("y",), **attributes):
    return helper.make_node(operator, inputs, list(outputs), domain="com.microsoft", **attributes)


def off(found: NDArray, exact: NDArray) -> float:
    assert found.shape == exact.shape
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def product(x: NDArray, quantized: Quantized, level: int) -> NDArray:
    K, N = quantized.shape
    B, scales, zeros = nbits(quantized)
    assert isinstance(quantized.scheme, Grouped)
    attributes = {"bits": quantized.scheme.bits, "block_size": quantized.scheme.group, "accuracy_level": level}
    names = ["x", "B", "scales", "" if zeros is None else "zeros"]
    constants = {"B": B, "scales": scales, "zeros": zeros}
    return ran([node("MatMulNBits", names, K=K, N=N, **attributes)], {"x": x}, constants)[0]


@pytest.mark.parametrize("bits", (2, 4, 8))
@pytest.mark.parametrize("symmetric", (True, False))
@pytest.mark.parametrize("K", (256, 200, 40))
@pytest.mark.parametrize("group", (16, 64))
def test_matmul_nbits_multiplies_with_what_the_codes_stand_for(bits: int, symmetric: bool, K: int, group: int) -> None:
    quantized = quantize(drawn(K, 37), Grouped(bits, group, symmetric))
    x = drawn(5, K, seed=1)
    exact = x.astype(np.float64) @ dequantized(quantized, np.float64)
    assert off(product(x, quantized, 0), exact) < EXACT
    assert off(product(x, quantized, 4), exact) < INT8_INPUTS
    if (bits, group) != (2, 16):  # for these there is no int8 kernel
        assert off(product(x, quantized, 4), exact) > 1e-5


@pytest.mark.parametrize("group", (16, 32, 128, 256))
def test_every_group_of_the_kernel_is_packed(group: int) -> None:
    quantized = quantize(drawn(300, 20), Grouped(4, group, False), search=True)
    x = drawn(1, 300, seed=1)
    assert off(product(x, quantized, 0), x.astype(np.float64) @ dequantized(quantized, np.float64)) < EXACT


def test_gptq_needs_no_other_layout() -> None:
    inputs = (drawn(600, 96) @ drawn(96, 96, seed=3)).astype(np.float64)
    quantized = quantize_gptq(drawn(96, 20), Grouped(4, 32), inputs.T @ inputs)
    x = drawn(3, 96, seed=1)
    assert off(product(x, quantized, 0), x.astype(np.float64) @ dequantized(quantized, np.float64)) < EXACT


def test_groups_of_zeros_and_columns_of_zeros_give_zeros() -> None:
    weight = drawn(64, 12)
    weight[:, 3] = 0
    weight[32:, 5] = 0
    x = drawn(4, 64, seed=1)
    for symmetric in (True, False):
        quantized = quantize(weight, Grouped(4, 32, symmetric))
        for level in (0, 4):
            found = product(x, quantized, level)
            assert (found[:, 3] == 0).all()
            assert off(found, x.astype(np.float64) @ dequantized(quantized, np.float64)) < INT8_INPUTS


@pytest.mark.parametrize("bits", (2, 4, 8))
@pytest.mark.parametrize("symmetric", (True, False))
@pytest.mark.parametrize("D", (128, 72))
def test_gather_block_quantized_looks_up_what_the_codes_stand_for(bits: int, symmetric: bool, D: int) -> None:
    embedding = drawn(41, D)
    quantized = quantize(embedding.T, Grouped(bits, 32, symmetric))
    data, scales, zeros, head = gather_block(quantized)
    assert (head is None) == (D == 72)
    tokens = np.array([[0, 40, 7], [7, 1, 3]])
    names = ["data", "tokens", "scales", *([] if zeros is None else ["zeros"])]
    look_up = node("GatherBlockQuantized", names, bits=bits, block_size=32, gather_axis=0, quantize_axis=1)
    found = ran([look_up], {"tokens": tokens}, {"data": data, "scales": scales, "zeros": zeros})[0]
    np.testing.assert_array_equal(found, dequantized(quantized).T[tokens])


@pytest.mark.parametrize("symmetric", (True, False))
def test_one_packed_tensor_is_embedding_and_head(symmetric: bool) -> None:
    quantized = quantize(drawn(41, 128).T, Grouped(4, 32, symmetric))
    data, scales, zeros, head = gather_block(quantized)
    np.testing.assert_array_equal(data.reshape(head), nbits(quantized).B)
    zero = [] if zeros is None else ["zeros"]
    nodes = [
        node("GatherBlockQuantized", ["data", "tokens", "scales", *zero], ("e",), bits=4, block_size=32),
        helper.make_node("Reshape", ["data", "shape"], ["B"]),
        node("MatMulNBits", ["e", "B", "scales", *zero], K=128, N=41, bits=4, block_size=32, accuracy_level=0),
    ]
    tokens = np.array([[3, 40, 7]])
    constants = {"data": data, "scales": scales, "zeros": zeros, "shape": np.array(head)}
    e, logits = ran(nodes, {"tokens": tokens}, constants, ("e", "y"))
    values = dequantized(quantized, np.float64)
    np.testing.assert_allclose(e, values.T[tokens], rtol=1e-6)
    assert off(logits, values.T[tokens] @ values) < EXACT


@pytest.mark.parametrize("bits", (8, 7))
@pytest.mark.parametrize("bias", (False, True))
def test_dynamic_quantize_matmul_rounds_only_the_inputs(bits: int, bias: bool) -> None:
    quantized = quantize(drawn(256, 37), PerColumn(bits))
    B, scales = int8_columns(quantized)
    x, b = drawn(5, 256, seed=1), drawn(37, seed=2) if bias else None
    names = ["x", "B", "scales", "", "b"] if bias else ["x", "B", "scales"]
    found = ran([node("DynamicQuantizeMatMul", names)], {"x": x}, {"B": B, "scales": scales, "b": b})[0]
    # what the operator does to its inputs: uint8 over the range of the tensor, zero included
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    step = np.float32((high - low) / 255)
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * float(step)
    values, added = dequantized(quantized, np.float64), 0 if b is None else b
    assert off(found, rounded @ values + added) < EXACT
    assert off(found, x.astype(np.float64) @ values + added) < ONE_SCALE


def test_matmul_integer_adds_up_the_codes() -> None:
    quantized = quantize(drawn(64, 12), PerColumn())
    x = np.random.default_rng(1).integers(0, 256, (3, 64), dtype=np.uint8)
    graph = [
        helper.make_node("MatMulInteger", ["x", "B", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    B, scales = int8_columns(quantized)
    found = ran(graph, {"x": x}, {"B": B, "zero": np.array(128, np.uint8)})[0]
    exact = (x.astype(np.float64) - 128) @ dequantized(quantized, np.float64)
    np.testing.assert_allclose(found * scales.astype(np.float64), exact, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("scheme", (NF4(64, False), NF4(64, True), NF4(32, True)), ids=lambda s: s.name)
def test_matmul_bnb4_multiplies_with_what_the_codes_stand_for(scheme: NF4) -> None:
    quantized = quantize(drawn(128, 37), scheme)
    B, absmax = bnb4(quantized)
    x = drawn(5, 128, seed=1)
    multiply = node("MatMulBnb4", ["x", "B", "absmax"], K=128, N=37, block_size=scheme.group, quant_type=1)
    found = ran([multiply], {"x": x}, {"B": B, "absmax": absmax})[0]
    assert off(found, x.astype(np.float64) @ dequantized(quantized, np.float64)) < EXACT


def experts(x: NDArray, router: NDArray, first: NDArray, second: NDArray) -> NDArray:
    """Two of the experts for each row, gate and up in alternating columns, in float64."""
    result = np.zeros((len(x), second.shape[2]))
    for row, scores in enumerate(router.astype(np.float64)):
        chosen = np.argsort(-scores)[:2]
        shares = np.exp(scores[chosen] - scores.max())
        for expert, share in zip(chosen, shares / shares.sum(), strict=True):
            hidden = x[row].astype(np.float64) @ first[expert]
            gate, up = hidden[0::2], hidden[1::2]
            result[row] += share * ((gate / (1 + np.exp(-gate)) * up) @ second[expert])
    return result


@pytest.mark.parametrize(
    ("scheme", "level", "bound"),
    (
        (Grouped(4, 32), 0, EXACT),
        (Grouped(4, 32, False), 0, EXACT),
        (Grouped(4, 32), 4, TWO_LAYERS),
        (Grouped(2, 16), 0, EXACT),
        (Grouped(8, 32), 0, TWO_LAYERS),
        (Grouped(8, 32, False), 0, TWO_LAYERS),
        (PerColumn(), 0, EXACT),
    ),
    ids=str,
)
def test_qmoe_runs_the_experts_that_the_codes_stand_for(scheme, level: int, bound: float) -> None:
    E, H, inner, T = 4, 64, 32, 7
    first = [quantize(drawn(H, 2 * inner, seed=e) / 8, scheme) for e in range(E)]
    second = [quantize(drawn(inner, H, seed=10 + e) / 8, scheme) for e in range(E)]
    a, b = qmoe(first), qmoe(second)
    names = ["x", "router", "w1", "s1", "", "w2", "s2"]
    if a.zeros is not None:
        names += ["", "", "", "", "z1", "z2"]
    x, router = drawn(T, H, seed=30), drawn(T, E, seed=31)
    attributes = {"block_size": scheme.group} if isinstance(scheme, Grouped) else {}
    layer = node(
        "QMoE", names, k=2, activation_type="swiglu", swiglu_fusion=1, normalize_routing_weights=1,
        expert_weight_bits=scheme.bits, accuracy_level=level, activation_alpha=1.0, activation_beta=0.0, **attributes,
    )
    constants = {"w1": a.weights, "s1": a.scales, "z1": a.zeros, "w2": b.weights, "s2": b.scales, "z2": b.zeros}
    found = ran([layer], {"x": x, "router": router}, constants)[0]
    values = [np.stack([dequantized(e, np.float64) for e in group]) for group in (first, second)]
    assert off(found, experts(x, router, *values)) < bound


def test_codes_lie_low_bits_first() -> None:
    codes = np.array([1, 2, 3, 0, 2], np.uint8)
    np.testing.assert_array_equal(packed(codes, 2), [1 | 2 << 2 | 3 << 4, 2])
    np.testing.assert_array_equal(packed(codes, 4), [1 | 2 << 4, 3, 2])
    np.testing.assert_array_equal(packed(codes, 8), codes)


def test_a_layout_is_refused_where_its_kernel_would_read_it_wrongly() -> None:
    with pytest.raises(ValueError, match="groups"):
        nbits(quantize(drawn(32, 4), PerColumn()))
    with pytest.raises(ValueError, match="per column"):
        int8_columns(quantize(drawn(32, 4), Grouped()))
    with pytest.raises(ValueError, match="divide"):
        bnb4(quantize(drawn(40, 4), NF4()))
    with pytest.raises(ValueError, match="divide"):
        qmoe([quantize(drawn(40, 4), Grouped(4, 32))])
    with pytest.raises(ValueError, match="one scheme"):
        qmoe([quantize(drawn(64, 4), Grouped(4, 32)), quantize(drawn(64, 4), Grouped(8, 32))])
    with pytest.raises(ValueError, match="whole bytes"):
        gather_block(quantize(drawn(33, 4), Grouped(4, 32)))
    with pytest.raises(ValueError, match="NF4"):
        bnb4(quantize(drawn(64, 4), Grouped()))
