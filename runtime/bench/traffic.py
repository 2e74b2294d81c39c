"""Which weights an ONNX model reads, how they are stored, and how many bytes one token makes it read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

_GATHERS = {"Gather": 0, "GatherBlockQuantized": 0, "GatherND": 0}
# Tables of which a step reads the rows of its positions: the numbers of the inputs.
_ROTATIONS = {("", "RotaryEmbedding"): (1, 2), ("com.microsoft", "RotaryEmbedding"): (2, 3)}
_ROTATIONS |= {("com.microsoft", "GroupQueryAttention"): (7, 8)}
_EXPERTS = ("MoE", "QMoE")
# What only looks at a weight in another shape; ONNX Runtime does that once, when it loads.
_SHAPED = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
_HALF = (TensorProto.INT4, TensorProto.UINT4)
_NAMES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "int4",
}


@dataclass(frozen=True)
class Use:
    """What an operator reads of the weights of the model when it runs for one token, in what format."""

    bytes: int
    format: str


@dataclass(frozen=True)
class Traffic:
    """`uses` are by the name of the node as ONNX Runtime's profile has it; one in a function has a use per call."""

    uses: Mapping[str, tuple[Use, ...]]

    @property
    def bytes(self) -> int:
        """What is read of the weights for one token."""
        return sum(use.bytes for uses in self.uses.values() for use in uses)

    @property
    def formats(self) -> dict[str, int]:
        """Bytes per token by format, most first."""
        found: dict[str, int] = defaultdict(int)
        for uses in self.uses.values():
            for use in uses:
                found[use.format] += use.bytes
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def of(self, event: str) -> Use | None:
        """What the node of an event reads; rewritten nodes have a name that begins with that of the first of them."""
        name = event
        while name:
            if name in self.uses:
                uses = self.uses[name]
                return Use(sum(u.bytes for u in uses) // len(uses), uses[0].format)
            name = name.rpartition("/")[0]
        return None


def traffic(file: Path) -> Traffic:
    """The weights that an ONNX model reads. What lies in external files is not loaded."""
    model = onnx.load(file, load_external_data=False)
    functions = {(f.domain, f.name): f for f in model.functions}
    weights = {w.name: w for w in model.graph.initializer}
    uses: dict[str, list[Use]] = defaultdict(list)
    for name, use in _uses(model.graph.node, weights, functions, ""):
        uses[name].append(use)
    return Traffic({name: tuple(found) for name, found in uses.items()})


def _uses(
    nodes: Any, weights: Mapping[str, Any], functions: Mapping[tuple[str, str], Any], prefix: str
) -> Iterator[tuple[str, Use]]:
    """Each node that reads weights. `weights` are by the names that they have here."""
    weights = dict(weights)
    for node in nodes:
        if node.op_type in _SHAPED and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
            continue
        function = functions.get((node.domain, node.op_type))
        if function is not None:
            given = {inner: weights[outer] for inner, outer in zip(function.input, node.input, strict=False)
                     if outer in weights}  # fmt: skip
            yield from _uses(function.node, given, functions, f"_inlfunc_{function.name}_")
            continue
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _uses(attribute.g.node, weights, functions, prefix)
        read = [(weights[name], i) for i, name in enumerate(node.input) if name in weights]
        read = [(weight, i) for weight, i in read if weight.data_type in _NAMES]
        if read:
            largest = max((weight for weight, _ in read), key=_bytes)
            yield prefix + node.name, Use(sum(_read(node, w, i) for w, i in read), _format(node, largest))


def _bytes(weight: Any) -> int:
    if weight.data_type in _HALF:
        return (prod(weight.dims) + 1) // 2
    return int(prod(weight.dims) * onnx.helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize)


def _read(node: Any, weight: Any, number: int) -> int:
    """Bytes that a node reads of one of its weights, for one token."""
    size, rows = _bytes(weight), weight.dims[0] if weight.dims else 1
    attributes = {a.name: a.i for a in node.attribute}
    axis = attributes.get("gather_axis", attributes.get("axis", 0))
    if _GATHERS.get(node.op_type) == number or (node.op_type == "GatherBlockQuantized" and number > 1):
        return size // max(1, weight.dims[axis])
    if number in _ROTATIONS.get((node.domain, node.op_type), ()):
        return size // max(1, rows)
    if node.op_type in _EXPERTS:
        return size * min(rows, attributes.get("k", 1)) // max(1, rows)
    return size


def _format(node: Any, weight: Any) -> str:
    """How weights are stored: the type of their numbers, and of how many of these share a scale."""
    attributes = {a.name: a.i for a in node.attribute}
    if "bits" in attributes and weight.data_type in (TensorProto.UINT8, TensorProto.INT8, *_HALF):
        block = f", block {attributes['block_size']}" if attributes.get("block_size") else ""
        return f"int{attributes['bits']}{block}"
    if node.op_type == "QMoE":
        return f"int{attributes.get('expert_weight_bits', 4)}"
    return _NAMES[weight.data_type]
