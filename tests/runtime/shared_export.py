"""An export with shared caches made by hand: an embedding, one GroupQueryAttention, a head; and its exact logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from weft.compiler.emit.onnx.manifest import FORMAT

Array = NDArray[Any]
V, H, G, K, LONGEST = 23, 4, 2, 8, 200
D = H * K


class Shared:
    """The weights, the exact logits, and a folder with the model."""

    def __init__(
        self, folder: Path, seed: int = 0, prefill: int | None = None, sharp: float = 1.0,
        chunk: int | None = None,
    ) -> None:
        draw = np.random.default_rng(seed)
        shapes = {"table": (V, D), "places": (LONGEST, D), "head": (D, V), "q": (D, D)}
        shapes |= {"k": (D, G * K), "v": (D, G * K)}
        self.weights = {name: draw.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
        for name in ("q", "k", "v", "head"):
            self.weights[name] *= sharp * D**-0.5
        self.folder, self.chunk = folder, chunk
        folder.mkdir(parents=True)
        onnx.save(self.graph(), folder / "model.onnx")
        names = ["model.onnx"]
        if prefill is not None:
            onnx.save(self.graph(), folder / "prefill.onnx")
            names.append("prefill.onnx")
        (folder / "weft.json").write_text(json.dumps(self.manifest(names, prefill)))

    def exact(self, tokens: list[int]) -> Array:
        """Logits [T, V] of one row, in float64."""
        w = {name: array.astype(np.float64) for name, array in self.weights.items()}
        x = w["table"][tokens] + w["places"][: len(tokens)]
        q, k, v = ((x @ w[n]).reshape(len(tokens), -1, K) for n in "qkv")
        k, v = (np.repeat(array, H // G, 1) for array in (k, v))
        scores = np.einsum("thk,shk->hts", q, k) * K**-0.5
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        return (x + np.einsum("hts,shk->thk", chances, v).reshape(len(tokens), D)) @ w["head"]

    def graph(self) -> onnx.ModelProto:
        node, info = helper.make_node, helper.make_tensor_value_info
        ints = {"one": [1], "zero": [0], "minus": [-1]}
        constants = [numpy_helper.from_array(np.array(ints[name], np.int64), name) for name in ints]
        scalars = {"nought": 0, "unit": 1, "logits_to_keep": 1}
        constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in scalars.items()]
        constants += [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        nodes = [
            node("Gather", ["table", "input_ids"], ["word"]),
            node("Gather", ["places", "position_ids"], ["place"]),
            node("Add", ["word", "place"], ["x"]),
            *(node("MatMul", ["x", name], [f"x.{name}"]) for name in "qkv"),
            node("ReduceSum", ["attention_mask", "one"], ["counts"], keepdims=0),
            node("Sub", ["counts", "unit"], ["ends"]),
            node("Cast", ["ends"], ["lengths"], to=TensorProto.INT32),
            node("Shape", ["attention_mask"], ["total.long"], start=1, end=2),
            node("Cast", ["total.long"], ["total.one"], to=TensorProto.INT32),
            node("Squeeze", ["total.one", "zero"], ["total"]),
            node(
                "GroupQueryAttention", ["x.q", "x.k", "x.v", "past.key", "past.value", "lengths", "total"],
                ["seen", "present.key", "present.value"], domain="com.microsoft", num_heads=H, kv_num_heads=G,
            ),
            node("Add", ["x", "seen"], ["y"]),
            # The last columns that end with the last token of each row.
            node("Slice", ["position_ids", "zero", "one", "one"], ["before"]),
            node("Unsqueeze", ["counts", "one"], ["counts.column"]),
            node("Sub", ["counts.column", "before"], ["new"]),
            node("Sub", ["new", "logits_to_keep"], ["start"]),
            node("Range", ["nought", "logits_to_keep", "unit"], ["steps"]),
            node("Add", ["start", "steps"], ["columns.any"]),
            node("Max", ["columns.any", "nought"], ["columns"]),
            node("Unsqueeze", ["columns", "minus"], ["places.kept"]),
            node("GatherND", ["y", "places.kept"], ["kept"], batch_dims=1),
            node("MatMul", ["kept", "head"], ["logits"]),
        ]
        cache = ["batch", G, "slots", K]
        inputs = [
            info("input_ids", TensorProto.INT64, ["batch", "sequence"]),
            info("attention_mask", TensorProto.INT64, ["batch", "total"]),
            info("position_ids", TensorProto.INT64, ["batch", "sequence"]),
            info("logits_to_keep", TensorProto.INT64, []),
            info("past.key", TensorProto.FLOAT, cache),
            info("past.value", TensorProto.FLOAT, cache),
        ]
        outputs = [
            info("logits", TensorProto.FLOAT, ["batch", "logits_to_keep", V]),
            info("present.key", TensorProto.FLOAT, cache),
            info("present.value", TensorProto.FLOAT, cache),
        ]
        graph = helper.make_graph(nodes, "shared", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def manifest(self, names: list[str], prefill: int | None) -> dict[str, Any]:
        def port(name: str, *shape: str) -> dict[str, Any]:
            return {"name": name, "dtype": "int64", "shape": list(shape)}

        return {
            "format": FORMAT, "model": "Shared", "form": "step+rows", "target": "cpu", "cache": "shared",
            "precision": "float32", "chunk": self.chunk, "file": "model.onnx", "opset": 21,
            "session": {"session.intra_op.allow_spinning": "0"},
            "prefill": None if prefill is None else {"file": "prefill.onnx", "from": prefill},
            "inputs": [
                port("input_ids", "batch", "sequence"), port("attention_mask", "batch", "total"),
                port("position_ids", "batch", "sequence"), {**port("logits_to_keep"), "default": 1},
            ],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", "logits_to_keep", V]}],
            "states": [
                {
                    "path": f"attn.{part}", "kind": "grow", "input": f"past.{part}", "output": f"present.{part}",
                    "dtype": "float32", "shape": ["batch", G, "past", K], "axis": 2, "width": None, "initial": 0.0,
                }
                for part in ("key", "value")
            ],
            "encoder": None, "vocabulary": V, "context": LONGEST, "tokenizer": None, "metadata": {},
            "files": {name: {"bytes": (self.folder / name).stat().st_size} for name in names},
        }
