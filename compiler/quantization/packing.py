"""The bytes in which the kernels of ONNX Runtime take quantized matrices (its ContribOperators page, version 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codes import Float, Quantized
from .scheme import NF4, Grouped, PerColumn

Bytes = NDArray[np.uint8]


class NBits(NamedTuple):
    """Inputs `B`, `scales` and `zero_points` of MatMulNBits."""

    B: Bytes
    """[N, blocks, group * bits / 8], the first code in the lowest bits"""
    scales: Float
    """[N, blocks]"""
    zeros: Bytes | None
    """[N, blocks * bits / 8, rounded up]"""


class GatherBlock(NamedTuple):
    """Inputs `data`, `scales` and `zero_points` of GatherBlockQuantized: an embedding [V, D] in groups along D."""

    data: Bytes
    """[V, D * bits / 8]"""
    scales: Float
    """[V, blocks]"""
    zeros: Bytes | None
    """[V, blocks * bits / 8, rounded up]"""
    head: tuple[int, int, int] | None
    """The shape of `data` as input `B` of MatMulNBits, for a tied output head; None when D ends within a group."""


class Experts(NamedTuple):
    """The inputs of QMoE for one of its matrices of all experts."""

    weights: Bytes
    """[E, N, K * bits / 8]"""
    scales: Float
    """[E, N, blocks], or [E, N] per column"""
    zeros: Bytes | None
    """[E, N, blocks * bits / 8, rounded up]"""


class Int8Columns(NamedTuple):
    """Right-hand side of DynamicQuantizeMatMul, MatMulIntegerToFloat and MatMulInteger; its zero point is 0."""

    B: NDArray[np.int8]
    """[K, N]"""
    scales: Float
    """[N]"""


class Bnb4(NamedTuple):
    """Inputs `B` and `absmax` of MatMulBnb4 (quant_type 1)."""

    B: Bytes
    """[N * K / 2], the first code in the highest bits"""
    absmax: Float
    """[N * K / group]"""


def nbits(quantized: Quantized) -> NBits:
    """For MatMulNBits with `bits`, `block_size` = group, K and N; a last group that is shorter is filled with zeros."""
    scheme, codes = _grouped(quantized), quantized.codes
    K, N = codes.shape
    blocks = scheme.blocks(K)
    missing = blocks * scheme.group - K
    if missing:
        zero = np.full(N, scheme.middle, np.uint8) if quantized.zeros is None else quantized.zeros[-1]
        codes = np.concatenate((codes, np.broadcast_to(zero, (missing, N))))
    B = _rows(codes, scheme.bits).reshape(N, blocks, scheme.group * scheme.bits // 8)
    return NBits(B, _scales(quantized), _zeros(quantized))


def gather_block(quantized: Quantized) -> GatherBlock:
    """For GatherBlockQuantized with `bits`, `block_size` = group, gather_axis 0 and quantize_axis 1.

    `quantized` is the transposed embedding, [D, V]: what a tied output head multiplies with. Its codes must fill whole
    bytes (ValueError if not).
    """
    scheme = _grouped(quantized)
    D, V = quantized.shape
    if D * scheme.bits % 8:
        raise ValueError(f"{D} codes of {scheme.bits} bits fill no whole bytes")
    whole = (V, D // scheme.group, scheme.group * scheme.bits // 8)
    head = None if D % scheme.group else whole
    return GatherBlock(_rows(quantized.codes, scheme.bits), _scales(quantized), _zeros(quantized), head)


def qmoe(experts: Sequence[Quantized]) -> Experts:
    """For QMoE with `expert_weight_bits` and `block_size` = group (none per column); all experts in one scheme.

    Each expert is [K, N] as it multiplies. For `swiglu_fusion` 1 the columns of gate and up alternate. K must be a
    multiple of the group (ValueError if not).
    """
    scheme = experts[0].scheme
    if any(e.scheme != scheme for e in experts):
        raise ValueError("the experts of one operator are quantized in one scheme")
    if isinstance(scheme, PerColumn):
        weights = np.stack([np.ascontiguousarray(e.codes.T).view(np.uint8) ^ np.uint8(128) for e in experts])
        return Experts(weights, np.stack([_required(e.scales) for e in experts]), None)
    packed = [nbits(e) for e in experts]
    K = experts[0].shape[0]
    if K % _grouped(experts[0]).group:
        raise ValueError(f"groups of {_grouped(experts[0]).group} do not divide K = {K}")
    zeros = [p.zeros for p in packed if p.zeros is not None]
    weights = np.stack([p.B.reshape(len(p.B), -1) for p in packed])
    return Experts(weights, np.stack([p.scales for p in packed]), np.stack(zeros) if zeros else None)


def int8_columns(quantized: Quantized) -> Int8Columns:
    """For the int8 matrix products; the codes are stored as they are."""
    if not isinstance(quantized.scheme, PerColumn):
        raise ValueError(f"int8 matrix products take scales per column, not {quantized.scheme.name}")
    return Int8Columns(quantized.codes, _required(quantized.scales))


def bnb4(quantized: Quantized) -> Bnb4:
    """For MatMulBnb4 with `block_size` = group; scales that are quantized themselves are restored in float32.

    K must be a multiple of the group (ValueError if not): the kernel counts groups through the ends of columns.
    """
    scheme, (K, N) = quantized.scheme, quantized.shape
    if not isinstance(scheme, NF4):
        raise ValueError(f"MatMulBnb4 takes NF4, not {scheme.name}")
    if K % scheme.group:
        raise ValueError(f"groups of {scheme.group} do not divide K = {K}")
    pairs = quantized.codes.reshape(K // 2, 2, N)
    B = np.ascontiguousarray(((pairs[:, 0] << 4) | pairs[:, 1]).T)
    return Bnb4(B.ravel(), _scales(quantized).ravel())


def packed(codes: Bytes, bits: int) -> Bytes:
    """Codes [n, ..] as bytes [n * bits / 8 (rounded up), ..] along the first axis, the first in the lowest bits."""
    each = 8 // bits
    short = -len(codes) % each
    if short:
        codes = np.concatenate((codes, np.zeros((short, *codes.shape[1:]), np.uint8)))
    result: Bytes = codes[0::each].copy()
    for place in range(1, each):
        result |= codes[place::each] << np.uint8(bits * place)
    return result


def _rows(codes: Bytes, bits: int) -> Bytes:
    """Codes [K, N] as bytes [N, K * bits / 8]."""
    return np.ascontiguousarray(packed(codes, bits).T)


def _zeros(quantized: Quantized) -> Bytes | None:
    return None if quantized.zeros is None else _rows(quantized.zeros, _grouped(quantized).bits)


def _scales(quantized: Quantized) -> Float:
    return np.ascontiguousarray(_required(quantized.scales).T)


def _required(scales: Float | None) -> Float:
    assert scales is not None
    return scales


def _grouped(quantized: Quantized) -> Grouped:
    if not isinstance(quantized.scheme, Grouped):
        raise ValueError(f"this kernel takes groups of codes with a scale each, not {quantized.scheme.name}")
    return quantized.scheme
