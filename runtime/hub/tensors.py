"""Tensors on disk, one at a time: files in the safetensors format, whole or in shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError
from torch import Tensor

from ...lang import errors
from ...lang.diagnostics import WeftError
from .. import files

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class StoredTensors:
    """The tensors of a folder, or of one file, by name. Nothing is read before it is asked for. Use it with `with`."""

    def __init__(self, place: Path) -> None:
        self.folder = place if place.is_dir() else place.parent
        self._open = ExitStack()
        self._files: dict[str, Any] = {}
        self.where = self._index() if place.is_dir() else dict.fromkeys(self._file(place.name).keys(), place.name)

    def __enter__(self) -> StoredTensors:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def __contains__(self, name: str) -> bool:
        return name in self.where

    def __len__(self) -> int:
        return len(self.where)

    def __iter__(self) -> Iterator[str]:
        return iter(self.where)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file(self.where[name]).get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        return _DTYPES[self._file(self.where[name]).get_slice(name).get_dtype()]

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file(self.where[name]).get_tensor(name)
        return tensor

    def _index(self) -> dict[str, str]:
        """The file of every tensor."""
        if (self.folder / WHOLE).is_file():
            return dict.fromkeys(self._file(WHOLE).keys(), WHOLE)
        if (self.folder / INDEX).is_file():
            index = read_json(self.folder / INDEX)
            found = index.get("weight_map")
            if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
                raise WeftError(errors.no_checkpoint(str(self.folder), f"`{INDEX}` has no `weight_map`"))
            outside = next((v for v in found.values() if Path(v).name != v), None)
            if outside is not None:
                reason = f"`{INDEX}` names the file `{outside}`, which is not in the folder"
                raise WeftError(errors.no_checkpoint(str(self.folder), reason))
            held = {name: set(self._file(name).keys()) for name in dict.fromkeys(found.values())}
            lacking = next((n for n, f in found.items() if n not in held[f]), None)
            if lacking is not None:
                raise WeftError(errors.no_checkpoint(str(self.folder), f"`{found[lacking]}` has no `{lacking}`"))
            return dict(found)
        pickled = next((p.name for p in self.folder.glob("*.bin")), None)
        reason = f"`{WHOLE}` is missing"
        if pickled is not None:
            reason += f"; `{pickled}` is a pickle, which may run any code when it is read: convert it to safetensors"
        raise WeftError(errors.no_checkpoint(str(self.folder), reason))

    def _file(self, name: str) -> Any:
        if name not in self._files:
            try:
                opened = safetensors.safe_open(self.folder / name, "pt")
                self._files[name] = self._open.enter_context(opened)
            except (OSError, SafetensorError) as error:
                raise WeftError(errors.no_checkpoint(str(self.folder), f"`{name}`: {error}")) from error
        return self._files[name]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises WeftError when the file is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeftError(errors.no_checkpoint(str(path.parent), f"`{path.name}` cannot be read ({error})")) from error
    if not isinstance(found, dict):
        raise WeftError(errors.no_checkpoint(str(path.parent), f"`{path.name}` is no JSON object"))
    return found


Described = tuple[str, torch.dtype, tuple[int, ...]]


def write_tensors(
    path: Path, described: Sequence[Described], get: Callable[[str], Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors into one file, whole or not at all; each is asked for once, in order, and then forgotten.

    The format is that of safetensors: the length of the header (8 bytes, little-endian), a JSON header with the dtype,
    shape and byte range of every tensor, then their bytes.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, dtype, shape in described:
        begin, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    beside = path.with_name(path.name + files.WRITING)
    with beside.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, dtype, shape in described:
            tensor = get(name).contiguous()
            assert tensor.dtype == dtype and tuple(tensor.shape) == tuple(shape), name
            file.write(tensor.flatten().view(torch.uint8).numpy().data)
    files.flush(beside)
    beside.replace(path)
    files.flush(path.parent)
