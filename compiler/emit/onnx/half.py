"""A graph of float32 values as one of 16-bit values, with islands of float32 where sums and chances are made.

Products, attention and norms as operators take 16 bits and give 16 bits; they add up in float32 inside. Exponentials,
roots, sums and softmax that are written out take float32, and so does a recurrence: the body of a Scan. Elementwise
operations go along with float32 where one of their operands has it, or where all who read their result want it.
Moving data keeps its type. What is cast is cast once, where it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .scope import reads
from .templates import opset_imports

FLOAT, BOOL, INT64 = int(TensorProto.FLOAT), int(TensorProto.BOOL), int(TensorProto.INT64)
NARROW: Mapping[str, int] = {"float16": int(TensorProto.FLOAT16), "bfloat16": int(TensorProto.BFLOAT16)}
_NUMPY: Mapping[int, Any] = {NARROW["float16"]: np.float16, NARROW["bfloat16"]: ml_dtypes.bfloat16, FLOAT: np.float32}
# Half the spacing of numbers: what a constant may lose relative to itself.
_UNIT = {NARROW["float16"]: 2.0**-11, NARROW["bfloat16"]: 2.0**-9}

WIDE = frozenset(
    (
        *("Cos", "Sin", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Erf", "Softplus", "Mod", "CumSum"),
        *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "Softmax", "LinearAttention", "Range"),
        # GPUs have no kernels for these in bfloat16.
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "ArgMax", "Floor", "Ceil", "Round", "Clip"),
        *("IsNaN", "IsInf", "Sign"),
    )
)
"""Operators that take real numbers in float32, and give such."""

ALONG = frozenset(
    ("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Max", "Min", "Where", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Sum")
)
"""Elementwise operators: in float32 where an operand is, or where all who read the result want it."""

MOVES: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Slice"), (0,)),
    **dict.fromkeys(("Split", "Gather", "GatherElements", "GatherND", "TopK", "Trilu", "Flatten"), (0,)),
    **dict.fromkeys(("ScatterElements", "ScatterND", "Pad"), (0, 2)),
    "Concat": None,
}
"""Operators that move data, and which of their operands these are (None: all)."""

_SAME_SIZE = frozenset(("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"))
_TRUTHS = frozenset(
    ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor", "IsNaN", "IsInf")
)
_NUMBERS = frozenset(("Shape", "Size", "ArgMax", "ArgMin", "NonZero"))
_REAL = frozenset(_NUMPY)


@dataclass(frozen=True)
class Halved:
    """The graph and its functions. `wide` are the parameters that nobody reads in 16 bits."""

    graph: GraphProto
    functions: tuple[FunctionProto, ...]
    wide: frozenset[str]


def half(
    graph: GraphProto, functions: Sequence[FunctionProto], precision: str, elements: Mapping[str, int],
    wide: Collection[str], ports: Mapping[str, int], forms: Mapping[str, tuple[int, int]],
) -> Halved:
    """A float32 graph without its weights as one in `precision` (float16 or bfloat16).

    `elements` are the element types in which parameters are stored, with float32 for all reals: these become numbers
    of 16 bits, but for those in `wide`. `ports` are the element types of real inputs and outputs; others stay float32.
    `forms` says of every function how many of its first inputs, and of its first outputs, pass from layer to layer:
    they do so in 16 bits.
    """
    narrow = NARROW[precision]
    types = {name: FLOAT if name in wide or of != FLOAT else narrow for name, of in elements.items()}
    types |= {name: of for name, of in elements.items() if of not in _REAL}
    types |= {port.name: ports.get(port.name, port.type.tensor_type.elem_type) for port in graph.input}
    whole = _Whole({f.name: f for f in functions}, narrow, forms)
    main = _Place(whole, types)
    wanted = {port.name: ports.get(port.name, port.type.tensor_type.elem_type) for port in graph.output}
    main.run(graph.node, wanted, wanted)
    made = GraphProto()
    made.CopyFrom(graph)
    del made.node[:], made.input[:], made.output[:], made.value_info[:]
    made.input.extend(_typed(port, types[port.name]) for port in graph.input)
    made.output.extend(_typed(port, wanted[port.name]) for port in graph.output)
    made.value_info.extend(_typed(value, main.types[value.name]) for value in graph.value_info)
    made.node.extend(main.nodes)
    alone = frozenset(name for name in elements if elements[name] == FLOAT and main.read_as.get(name) == {FLOAT})
    return Halved(made, tuple(whole.made), alone)


@dataclass(frozen=True)
class _Made:
    """A function for some types of inputs: its name, and the types that it takes and gives."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class _Whole:
    """What all places of a model share: the functions as they were, and those that were made of them."""

    functions: Mapping[str, FunctionProto]
    narrow: int
    forms: Mapping[str, tuple[int, int]]
    made: list[FunctionProto] = field(default_factory=list)
    known: dict[tuple[Any, ...], _Made] = field(default_factory=dict)

    def function(self, name: str, given: tuple[int, ...]) -> _Made:
        """A function for inputs of these types; those that it reads in another type alone, it is to be given so."""
        key = (name, given)
        if key not in self.known:
            self.known[key] = self._function(self.functions[name], given)
        return self.known[key]

    def _function(self, function: FunctionProto, given: tuple[int, ...]) -> _Made:
        carried, results = self.forms[function.name]
        types = [self.narrow if i < carried and t in _REAL else t for i, t in enumerate(given)]
        names = list(function.input)
        while True:
            place = _Place(self, dict(zip(names, types, strict=True)))
            wanted = dict.fromkeys(list(function.output)[:results], self.narrow)
            place.run(function.node, wanted, dict.fromkeys(function.output))
            others = [place.read_as.get(name, {t}) for name, t in zip(names, types, strict=True)]
            asked = [
                next(iter(other)) if i >= carried and t in _REAL and len(other) == 1 else t
                for i, (t, other) in enumerate(zip(types, others, strict=True))
            ]
            if asked == types:
                break
            types = asked
        outputs = tuple(place.types[name] for name in function.output)
        same = [m for m in self.known.values() if (m.inputs, m.outputs) == (tuple(types), outputs)]
        for made in same:  # a call with other types came to the same function
            if made.name.split("/")[0] == function.name:
                return made
        count = sum(f.name.split("/")[0] == function.name for f in self.made)
        name = function.name if not count else f"{function.name}/{count + 1}"
        proto = helper.make_function(
            function.domain, name, names, list(function.output), place.nodes, opset_imports(_all(place.nodes))
        )
        proto.doc_string = function.doc_string
        self.made.append(proto)
        return _Made(name, tuple(types), outputs)


class _Place:
    """A list of nodes that is written anew: the main graph, a function, or (with `outer`) the body of a Scan."""

    def __init__(self, whole: _Whole, types: Mapping[str, int], outer: _Place | None = None) -> None:
        self.whole, self.outer = whole, outer
        self.types = dict(types)
        self.nodes: list[NodeProto] = []
        self.read_as: dict[str, set[int]] = {}
        self.constants: dict[str, NDArray[Any]] = {}
        self._cast: dict[tuple[str, int], str] = {}
        self._readers: Mapping[str, Sequence[bool]] = {}

    @property
    def narrow(self) -> int:
        return self.whole.narrow

    def run(self, nodes: Sequence[NodeProto], wanted: Mapping[str, int], outputs: Mapping[str, int | None]) -> None:
        """Write nodes anew. `wanted` are the types that outputs must have; others of the `outputs` have their own."""
        self._readers = _readers(nodes, {name for name, of in wanted.items() if of == FLOAT})
        last: list[tuple[str, str]] = []
        for node in nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            self._write(copy)
            for i, name in enumerate(copy.output):
                if name in wanted and self.types[name] in _REAL and self.types[name] != wanted[name]:
                    # The output keeps its name; what makes it gets another one.
                    inner = f"{name}/made"
                    copy.output[i] = inner
                    self.types[inner] = self.types.pop(name)
                    last.append((name, inner))
                    self._rename(name, inner)
        for name, inner in last:
            self.nodes.append(_cast_node(inner, name, wanted[name]))
            self.types[name] = wanted[name]
        for name in outputs:
            if name in self.constants and name not in {o for node in self.nodes for o in node.output}:
                self._place_constant(name, name, self.types[name])

    # -------------------------------------------------------------- names

    def _rename(self, name: str, inner: str) -> None:
        self._alias = getattr(self, "_alias", {}) | {name: inner}
