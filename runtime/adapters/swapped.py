"""Adapters of an export as files that ONNX Runtime itself loads, and its generation library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnxruntime

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..export_folder import read_manifest

ENDING = ".onnx_adapter"


def adapter_values(folder: str | os.PathLike[str], name: str) -> dict[str, onnxruntime.OrtValue]:
    """The inputs that an adapter of an export gives. Raises WeftError (E0934) when there is none of that name."""
    from safetensors.numpy import load_file

    file = Path(folder) / _file(read_manifest(Path(folder)), name)
    return {path: onnxruntime.OrtValue.ortvalue_from_numpy(array) for path, array in load_file(file).items()}


def write_onnx_adapter(folder: str | os.PathLike[str], name: str, file: str | os.PathLike[str] | None = None) -> Path:
    """One adapter of an export in ONNX Runtime's own format, for `LoraAdapter` and `onnxruntime_genai.Adapters`.

    `file` is where it is written, beside the safetensors file if nobody says. Raises WeftError (E0934) when there is
    none of that name.
    """
    where = Path(folder) / _file(read_manifest(Path(folder)), name)
    target = Path(file) if file is not None else where.with_suffix(ENDING)
    written = onnxruntime.AdapterFormat()
    written.set_adapter_version(1)
    written.set_model_version(1)
    values = adapter_values(folder, name)  # the file is written from their memory: they must live until then
    written.set_parameters(values)
    written.export_adapter(str(target))
    return target


def _file(manifest: dict[str, Any], name: str) -> str:
    """Where an adapter lies in an export."""
    known: dict[str, str] = (manifest.get("adapters") or {}).get("files", {})
    if name not in known:
        reason = f"the export has {', '.join(known) or 'no adapters'}"
        raise WeftError(errors.session_input(f"adapter {name}", reason))
    return known[name]
