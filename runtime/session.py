"""Running an export folder with ONNX Runtime: whole sequences at once, or step by step with remembered states."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from ..compiler.emit.onnx.manifest import FORMAT, MANIFEST, STATES_FILE
from ..lang import errors
from ..lang.diagnostics import WeftError

Array = NDArray[Any]
# What a model remembers between steps, by state path; the values stay on the device that runs it. Where there is an
# encoder, what it computed is among them, and the mask of the source under the name of that input.
States = Mapping[str, onnxruntime.OrtValue]
SOURCE_MASK = "encoder_attention_mask"


class Session:
    """A loaded export folder.

    `manifest` is its weft.json, `device` is "cpu" or "cuda". CUDA is used where there is a GPU and a build of ONNX
    Runtime for it; `providers` overrides the choice. `threads` limits the CPU threads of one operation. Raises
    WeftError (E0933) for a folder that is no export, or a damaged one.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.manifest = _manifest(self.folder)
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        chosen = list(providers) if providers is not None else _providers()

        def opened(file: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(str(self.folder / file), options, providers=chosen)

        self._session = opened(self.manifest["file"])
        first: dict[str, Any] | None = self.manifest["encoder"]
        self._encoder = None if first is None else opened(first["file"])
        self._constants: list[dict[str, Any]] = first["states"] if first else []
        self.device = "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"
        self._states: list[dict[str, Any]] = self.manifest["states"]
        self._inputs: dict[str, dict[str, Any]] = {port["name"]: port for port in self.manifest["inputs"]}
        self._output: str = self.manifest["outputs"][0]["name"]
        others = [name for name in self._inputs if name not in self._given()]
        if first is not None:
            known = ("input_ids", "attention_mask")
            others += [p["name"] for p in first["inputs"] if p["name"] not in known and "default" not in p]
        if others or "input_ids" not in self._inputs:
            reason = f"it takes {', '.join(others) or 'no tokens'}; a session gives token numbers alone"
            raise WeftError(errors.not_an_export(str(self.folder), reason))

    @property
    def vocabulary(self) -> int | None:
        """The number of logits per token."""
        return self.manifest["vocabulary"]

    @property
    def context(self) -> int | None:
        """The number of tokens that the model was made for, if the export says so."""
        return self.manifest["context"]

    @property
    def tokenizer(self) -> Path | None:
        """The exported tokenizer.json, if there is one."""
        name = self.manifest["tokenizer"]
        return self.folder / name if name else None

    @property
    def has_encoder(self) -> bool:
        """Whether the model reads a source before it writes."""
        return self._encoder is not None

    def logits(
        self,
        tokens: ArrayLike,
        attention_mask: ArrayLike | None = None,
        source: ArrayLike | None = None,
        source_mask: ArrayLike | None = None,
        *,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> Array:
        """Logits [B, T, V] of whole rows of tokens [B, T], for a model with an encoder after their source [B, N].

        Masks are 1 for tokens and 0 for padding, on either side. Logits at padding mean nothing. `inputs` are others
        that may be left out, such as `token_type_ids` [B, T].
        """
        ids = self._tokens(tokens)
        mask = np.ones_like(ids) if attention_mask is None else self._like("attention_mask", attention_mask, ids.shape)
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        return self.step(ids, self.start(len(ids), source, source_mask), mask, positions, inputs=inputs)[0]

    def encode(self, source: ArrayLike, source_mask: ArrayLike | None = None) -> States:
        """What the encoder computes of rows of a source [B, N], for all steps to come.

        `source_mask` [B, N] is 1 for tokens and 0 for padding. Raises WeftError (E0934) when there is no encoder.
        """
        if self._encoder is None:
            raise WeftError(errors.session_input("source", "the model has no encoder"))
        ids = self._tokens(source, "source")
        mask = np.ones_like(ids) if source_mask is None else self._like("source_mask", source_mask, ids.shape)
        binding = self._encoder.io_binding()
        for name, array in (("input_ids", ids), ("attention_mask", mask)):
            if name in {port.name for port in self._encoder.get_inputs()}:
                binding.bind_cpu_input(name, array)
        for name, array in self._left_out(self.manifest["encoder"]["inputs"], {}, ids.shape).items():
            binding.bind_cpu_input(name, array)
        for state in self._constants:
            binding.bind_output(state["output"], self.device)
        self._encoder.run_with_iobinding(binding)
        found = {s["path"]: value for s, value in zip(self._constants, binding.get_outputs(), strict=True)}
        return found | {SOURCE_MASK: onnxruntime.OrtValue.ortvalue_from_numpy(mask)}

    def start(
        self, batch: int = 1, source: ArrayLike | None = None, source_mask: ArrayLike | None = None
    ) -> States:
        """The states before the first token, for a number of rows; a model with an encoder reads its source now."""
        if self.has_encoder and source is None:
            raise WeftError(errors.session_input("source", "the model has an encoder, which reads one"))
        constants = {} if source is None else dict(self.encode(source, source_mask))
        if constants and constants[SOURCE_MASK].shape()[0] != batch:
            rows = constants[SOURCE_MASK].shape()[0]
            raise WeftError(errors.session_input("source", f"it has {rows} rows for {batch} rows of tokens"))
        computed: dict[str, Array] = {}
        if any(s["initial"] is None for s in self._states):
            from safetensors.numpy import load_file

            computed = load_file(self.folder / STATES_FILE)
        states: dict[str, onnxruntime.OrtValue] = constants
        for state in self._states:
            if state["kind"] == "constant":
                continue
            shape = [batch if n == "batch" else n if isinstance(n, int) else 0 for n in state["shape"]]
            if state["initial"] is None:
                value = np.broadcast_to(computed[state["input"]], shape)
            else:
                value = np.full(shape, state["initial"], state["dtype"])
            states[state["path"]] = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
        return states

    def step(
        self,
        tokens: ArrayLike,
        states: States,
        attention_mask: ArrayLike | None = None,
        positions: ArrayLike | None = None,
        *,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> tuple[Array, States]:
        """Logits [B, C, V] of C more tokens per row [B, C], and the states after them; the given ones do not change.

        `attention_mask` [B, P + C] covers the tokens so far and the new ones, `positions` [B, C] counts the tokens of
        each row without its padding. Both may be left out while no row has padding and the model has a cache whose
        length says how many tokens there were. `inputs` are others that may be left out, for the new tokens.
        """
        ids = self._tokens(tokens)
        past = self._past(states)
        if attention_mask is None:
            if past is None and self._states:
                reason = "no cache tells how many tokens there were"
                raise WeftError(errors.session_input("attention_mask", reason))
            attention_mask = np.ones((ids.shape[0], (past or 0) + ids.shape[1]), np.int64)
        total = None if past is None else past + ids.shape[1]
        mask = self._like("attention_mask", attention_mask, (ids.shape[0], total))
        if mask.shape[1] < ids.shape[1]:
            raise WeftError(errors.session_input("attention_mask", "it must cover the tokens of this step"))
        if positions is None:
            positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, mask.shape[1] - ids.shape[1] :]
        given = {"attention_mask": mask, "position_ids": self._like("position_ids", positions, ids.shape)}
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", ids)
        for name, array in given.items():
            if name in self._inputs:
                binding.bind_cpu_input(name, array)
        for name, array in self._left_out(self.manifest["inputs"], inputs or {}, ids.shape).items():
            binding.bind_cpu_input(name, array)
        if SOURCE_MASK in self._inputs:
            binding.bind_ortvalue_input(SOURCE_MASK, states[SOURCE_MASK])
        for state in self._states:
            binding.bind_ortvalue_input(state["input"], states[state["path"]])
        binding.bind_output(self._output, "cpu")
        changed = [state for state in self._states if state["output"] is not None]
        for state in changed:
            binding.bind_output(state["output"], self.device)
        self._session.run_with_iobinding(binding)
        logits, *after = binding.get_outputs()
        return logits.numpy(), {**states, **{s["path"]: value for s, value in zip(changed, after, strict=True)}}

    def reorder(self, states: States, rows: ArrayLike) -> States:
        """The states of some rows, in a new order (a row may occur more than once)."""
        wanted = np.asarray(rows)
        result = {}
        for state in self._states:
            axis = state["shape"].index("batch")
            value = np.ascontiguousarray(np.take(states[state["path"]].numpy(), wanted, axis=axis))
            result[state["path"]] = onnxruntime.OrtValue.ortvalue_from_numpy(value)
        if SOURCE_MASK in states:
            mask = np.ascontiguousarray(states[SOURCE_MASK].numpy()[wanted])
            result[SOURCE_MASK] = onnxruntime.OrtValue.ortvalue_from_numpy(mask)
        return result

    # ------------------------------------------------------------------ checks

    def _given(self) -> set[str]:
        """The inputs that a session knows how to fill."""
        optional = (port["name"] for port in self.manifest["inputs"] if "default" in port)
        states = (s["input"] for s in self._states)
        return {"input_ids", "attention_mask", "position_ids", SOURCE_MASK, *optional, *states}

    def _left_out(
        self, ports: Sequence[Mapping[str, Any]], given: Mapping[str, ArrayLike], rows: tuple[int, ...]
    ) -> dict[str, Array]:
        """The inputs that have a default: as they are given, or that number; `rows` is [rows, tokens]."""
        optional = {port["name"]: port for port in ports if "default" in port}
        for name in given:
            if name not in optional:
                known = f"this model takes {', '.join(optional)}" if optional else "this model takes no such input"
                raise WeftError(errors.session_input(name, known))
        lengths = {"batch": rows[0], "sequence": rows[1], "encoder_sequence": rows[1]}
        found = {}
        for name, port in optional.items():
            shape = tuple(lengths.get(n, n) for n in port["shape"])
            if name in given:
                array = np.ascontiguousarray(given[name], port["dtype"])
                if array.shape != shape:
                    reason = f"its shape is {list(array.shape)}, not {list(shape)}"
                    raise WeftError(errors.session_input(name, reason))
                found[name] = array
            else:
                found[name] = np.full(shape, port["default"], port["dtype"])
        return found

    def _tokens(self, tokens: ArrayLike, what: str = "tokens") -> Array:
        ids = np.ascontiguousarray(tokens, np.int64)
        if ids.ndim != 2 or 0 in ids.shape:
            raise WeftError(errors.session_input(what, f"its shape is {list(ids.shape)}, not [rows, tokens]"))
        return ids

    def _like(self, name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> Array:
        array = np.ascontiguousarray(values, np.int64)
        if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
            wanted = ", ".join("any length" if n is None else str(n) for n in shape)
            raise WeftError(errors.session_input(name, f"its shape is {list(array.shape)}, not [{wanted}]"))
        return array

    def _past(self, states: States) -> int | None:
        """How many tokens there were before, where the length of a cache tells it."""
        for state in self._states:
            if state["kind"] == "grow" and state["axis"] is not None:
                return int(states[state["path"]].shape()[state["axis"]])
        return None


def check_files(folder: str | os.PathLike[str]) -> None:
    """Compare every file of an export with its hash in the manifest. Raises WeftError (E0933) for one that differs."""
    folder = Path(folder)
    for name, entry in _manifest(folder)["files"].items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                raise WeftError(errors.not_an_export(str(folder), f"`{name}` is damaged"))


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are there in full length."""
    if not (folder / MANIFEST).is_file():
        raise WeftError(errors.not_an_export(str(folder), f"it has no `{MANIFEST}`"))
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        format, files = manifest["format"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeftError(errors.not_an_export(str(folder), f"its `{MANIFEST}` is damaged")) from error
    if format != FORMAT:
        raise WeftError(errors.not_an_export(str(folder), f"its format is {format}, this version reads {FORMAT}"))
    for name, entry in files.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != entry["bytes"]:
            raise WeftError(errors.not_an_export(str(folder), f"`{name}` is missing or cut short"))
    return manifest


def _providers() -> list[Any]:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and _has_gpu():
        onnxruntime.preload_dlls()
        # TF32 would round every product to 11 bits: the export promises float32.
        return [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _has_gpu() -> bool:
    """Whether the CUDA driver finds a device; ONNX Runtime alone would complain on the terminal where there is none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
