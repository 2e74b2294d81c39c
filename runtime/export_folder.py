"""Export folders as they are read: the manifest, the files that it names, and how ONNX Runtime is to run them."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from ..compiler.emit.onnx.manifest import FORMAT, MANIFEST
from ..lang import errors
from ..lang.diagnostics import WeftError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are there in full length. WeftError (E0933) where one is missing."""
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


def check_files(folder: str | os.PathLike[str]) -> None:
    """Compare every file of an export with its hash in the manifest. Raises WeftError (E0933) for one that differs."""
    folder = Path(folder)
    for name, entry in read_manifest(folder)["files"].items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                raise WeftError(errors.not_an_export(str(folder), f"`{name}` is damaged"))


def session_options(manifest: Mapping[str, Any], threads: int | None) -> onnxruntime.SessionOptions:
    """The options of a session, with the config entries that the export asks for."""
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    if manifest.get("adapters") or any(port["name"] == "logits_to_keep" for port in manifest["inputs"]):
        options.log_severity_level = 3  # inputs that may be left out: ONNX Runtime would warn of each
    for name, value in (manifest.get("session") or {}).items():
        options.add_session_config_entry(name, str(value))
    return options


def chosen_providers(manifest: Mapping[str, Any], asked: Sequence[Any] | None) -> list[Any]:
    """Where a model runs: as the caller says, else where the export was made for; a portable one on a GPU, if any."""
    if asked is not None:
        return list(asked)
    portable = manifest.get("target", "portable") == "portable"
    wanted = [CUDA, CPU] if portable else manifest.get("providers") or [CUDA, CPU]
    here = [p for p in wanted if _name(p) != CUDA or has_cuda()]
    if any(_name(p) == CUDA for p in here):
        onnxruntime.preload_dlls()
    return [_options(p) for p in here]


def has_cuda() -> bool:
    """Whether there is a GPU, and a build of ONNX Runtime for it."""
    return CUDA in onnxruntime.get_available_providers() and _has_gpu()


def _name(provider: Any) -> str:
    return str(provider if isinstance(provider, str) else provider[0])


def _options(provider: Any) -> Any:
    """A provider with options: those that the export gives, or ours."""
    if not isinstance(provider, str):
        return (provider[0], dict(provider[1]))
    # TF32 would round every product to 11 bits: the export promises float32.
    return (CUDA, {"use_tf32": "0"}) if provider == CUDA else provider


def _has_gpu() -> bool:
    """Whether the CUDA driver finds a device; ONNX Runtime alone would complain on the terminal where there is none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
