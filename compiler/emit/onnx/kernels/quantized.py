"""Products with quantized weights, and look-ups in quantized tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..layout import Tensor, Writer
from ..scope import ints
from .kernel import Results
from .microsoft import DOMAIN

if TYPE_CHECKING:
    from ..activation import Activation

# What MatMulNBits calls computing with the other factor in 8 bits, and in float32.
_LEVELS = {8: 4, 32: 0}


def matmul_nbits(w: Writer, call: Activation) -> Results:
    """MatMulNBits; with activations of 8 bits the other factor is rounded in groups, with 32 it stays as it is."""
    statics = dict(call.function.statics)
    n, j, m = (a.size.value for a in call.type("codes").axes)
    x, k = _contracted_last(w, call)
    zeros = call.tensor("zeros").operand if "zeros" in call.names else None
    wire = w.emit(
        "MatMulNBits", x.operand, call.tensor("codes").operand, call.tensor("scales").operand, zeros,
        domain=DOMAIN, K=j * m, N=n, bits=int(statics["bits"]), block_size=m,
        accuracy_level=_LEVELS[int(statics["activations"])],
    )
    (result,) = call.function.output_types
    return (Tensor(result, (*(g for g in x.groups if g != k), result.names[-1:]), wire),)


def dynamic_columns(w: Writer, call: Activation) -> Results:
    """DynamicQuantizeMatMul: x is rounded to 8 bits over its whole range, the product is one of whole numbers."""
    x, k = _contracted_last(w, call)
    codes = w.natural(call.tensor("codes"))
    wire = w.emit("DynamicQuantizeMatMul", x.operand, codes.operand, call.tensor("scales").operand, domain=DOMAIN)
    (result,) = call.function.output_types
    return (Tensor(result, (*(g for g in x.groups if g != k), result.names[-1:]), wire),)


def outlying_columns(w: Writer, call: Activation) -> Results:
    """DynamicQuantizeMatMul of x without its outlying columns, plus a product of those in float32."""
    x, k = _contracted_last(w, call)
    codes, rows = w.natural(call.tensor("codes")), w.natural(call.tensor("rows"))
    main = w.emit("Mul", x.operand, call.tensor("mask").operand)
    main = w.emit("DynamicQuantizeMatMul", main, codes.operand, call.tensor("scales").operand, domain=DOMAIN)
    few = w.emit("MatMul", w.emit("Gather", x.operand, call.tensor("columns").operand, axis=-1), rows.operand)
    (result,) = call.function.output_types
    return (Tensor(result, (*(g for g in x.groups if g != k), result.names[-1:]), w.emit("Add", main, few)),)


def matmul_bnb4(w: Writer, call: Activation) -> Results:
    """MatMulBnb4 with the levels of NF4; x stays in float32."""
    n, j, m = (a.size.value for a in call.type("codes").axes)
    x, k = _contracted_last(w, call)
    parts = [call.tensor(part) for part in ("codes", "scales")]
    lines = [w.arrange(w.fill(part, part.type.names), (part.type.names,)).operand for part in parts]
    wire = w.emit("MatMulBnb4", x.operand, *lines, domain=DOMAIN, K=j * m, N=n, block_size=m, quant_type=1)
    (result,) = call.function.output_types
    return (Tensor(result, (*(g for g in x.groups if g != k), result.names[-1:]), wire),)


def gather_block(w: Writer, call: Activation) -> Results:
    """GatherBlockQuantized: rows of a table, of which only those that are looked up become float32."""
    statics = dict(call.function.statics)
    v, j, m = (a.size.value for a in call.type("codes").axes)
    bits = int(statics["bits"])
    table = call.tensor("codes")
    wire = table.operand
    if len(table.groups) == 3:  # it is also the weight of a product, which wants its groups apart
        wire = w.emit("Reshape", wire, ints(v, j * m * bits // 8))
    ids = call.tensor("ids")
    bound = w.emit("Clip", ids.operand, np.array(0, np.int64), np.array(v - 1, np.int64))
    zeros = call.tensor("zeros").operand if "zeros" in call.names else None
    found = w.emit(
        "GatherBlockQuantized", wire, bound, call.tensor("scales").operand, zeros,
        domain=DOMAIN, gather_axis=0, quantize_axis=1, block_size=m, bits=bits,
    )
    (result,) = call.function.output_types
    return (Tensor(result, (*ids.groups, result.names[-1:]), found),)


def _contracted_last(w: Writer, call: Activation) -> tuple[Tensor, tuple[str, ...]]:
    """x with the contracted axis as its last dimension, and that dimension."""
    x, type = call.tensor("x"), call.type("x")
    (result,) = call.function.output_types
    k = tuple(n for n in type.names if not result.has(n))
    x = w.apart(w.fill(x, k), *k)
    return w.arrange(x, (*(g for g in x.groups if g != k), k)), k
