"""weft.json: what an export folder holds, so that a program can run it without looking into the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .build import Built
from .interface import Port
from .plan import StoredState
from .templates import OPSET

FORMAT = 1
MANIFEST = "weft.json"
MODEL_FILE = "model.onnx"
STATES_FILE = "states.safetensors"
TOKENIZER_FILE = "tokenizer.json"
DTYPES = {"real": "float32", "int": "int64", "bool": "bool"}


def manifest(built: Built, files: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as plain data.

    Shapes are lists of lengths and symbols (`batch`, `sequence`, `past`, `total`). Of a state, `axis` is the dimension
    that grows or holds what is delayed, `width` its greatest length where there is one, and `initial` the number that
    it is filled with before the first token, or null when `states.safetensors` has it.
    """
    logits = built.outputs[0]
    return {
        "format": FORMAT,
        "model": built.module.name,
        "form": built.module.form,
        "target": "portable",
        "opset": OPSET,
        "inputs": [_port(p) for p in built.inputs],
        "outputs": [_port(p) for p in built.outputs],
        "states": [_state(".".join(map(str, path)), *entry) for path, entry in built.states.items()],
        "vocabulary": logits.shape[-1] if logits.shape and isinstance(logits.shape[-1], int) else None,
        "context": metadata.get("context"),
        "tokenizer": TOKENIZER_FILE if TOKENIZER_FILE in files else None,
        "metadata": {k: v for k, v in metadata.items() if k != "context"},
        "files": {name: dict(entry) for name, entry in files.items()},
    }


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": DTYPES[port.dtype], "shape": list(port.shape)}


def _state(path: str, stored: StoredState, read: Port, written: Port) -> dict[str, Any]:
    state = stored.state
    axis = None
    if state.axis is not None:
        number = state.type.index(state.axis)
        axis = next(i for i, group in enumerate(stored.dimensions) if number in group)
    return {
        "path": path,
        "kind": state.kind,
        "input": read.name,
        "output": written.name,
        "dtype": DTYPES[state.type.dtype],
        "shape": list(read.shape),
        "axis": axis,
        "width": state.width,
        "initial": None if isinstance(state.initial, str) else state.initial,
    }
