"""Adapters that are swapped while a model runs: their weights are inputs, which may be left out.

What is left out has the values that were exported with the model. A runtime that knows adapters, or a session, gives
those of another one instead; all have the same names and shapes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from onnx import ModelProto, TensorProto, helper

from ....lang import errors
from ....lang.diagnostics import WeftError
from ...ir.module import Module, Path
from ...ir.source import origins
from .build import Slot

FOLDER = "adapters"


def swapped(modules: Iterable[Module], slots: Collection[Slot], paths: Collection[str]) -> tuple[Slot, ...]:
    """The stored tensors that are made of the weights at `paths` and of nothing else.

    Raises WeftError (E0965) for one that is made of others as well, or is no float32, and for paths that none is of.
    """
    parameters = {name: parameter for module in modules for name, parameter in module.parameters()}
    found, seen = [], set[str]()
    for slot in slots:
        source = parameters[slot.path].source
        base = _path(slot.path)[:-1]
        own = [slot.path] if source is None else [_name(stored.path(base)) for stored in origins(source)]
        if not set(own) & set(paths):
            continue
        if not set(own) <= set(paths):
            raise WeftError(errors.adapter_not_swapped(own[0], f"`{slot.path}` holds other weights as well"))
        if slot.stored.format.onnx != TensorProto.FLOAT:
            raise WeftError(errors.adapter_not_swapped(own[0], "it is quantized"))
        found.append(slot)
        seen.update(own)
    for path in sorted(set(paths) - seen):
        raise WeftError(errors.adapter_not_swapped(path, "the model does not use it"))
    return tuple(found)


def open_inputs(model: ModelProto, slots: Iterable[Slot]) -> None:
    """Let a model take tensors as inputs that it has as initializers."""
    mine = {tensor.name for tensor in model.graph.initializer}
    ports = [helper.make_tensor_value_info(s.path, s.stored.format.onnx, s.shape) for s in slots if s.path in mine]
    model.graph.input.extend(ports)


def described(slots: Iterable[Slot], names: Iterable[str]) -> dict[str, Any] | None:
    """What the manifest says of the adapters: the inputs that each gives, and its file."""
    files = {name: f"{FOLDER}/{name}.safetensors" for name in names}
    inputs = [{"name": slot.path, "dtype": "float32", "shape": list(slot.shape)} for slot in slots]
    return {"inputs": inputs, "files": files} if files else None


def common_paths(adapters: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The weights of the adapters, which must be the same for all. Raises WeftError (E0965) when they are not."""
    first, *others = adapters.values()
    for other in others:
        for path in sorted(set(first) ^ set(other)):
            raise WeftError(errors.adapter_not_swapped(path, "some of the adapters have it and some have not"))
    return tuple(sorted(first))


def _path(name: str) -> Path:
    return tuple(int(part) if part.isdigit() else part for part in name.split("."))


def _name(path: Path) -> str:
    return ".".join(map(str, path))
