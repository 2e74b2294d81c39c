"""Emitted PyTorch source as classes, and its results beside those of the reference."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from weft.compiler.emit.reference import Outputs, run
from weft.compiler.emit.torch import to_torch
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module

Array = np.ndarray


def source_of(module: Module) -> str:
    """The emitted source, which knows nothing of where it comes from."""
    source = to_torch(module)
    assert "weft" not in source.lower()
    assert "getattr" not in source
    return source


def build(source: str, name: str) -> torch.nn.Module:
    """The root of an emitted file (a real Python module, as torch.compile wants it)."""
    module = types.ModuleType("emitted")
    sys.modules["emitted"] = module
    exec(compile(source, "<emitted>", "exec"), module.__dict__)
    return getattr(module, name)()


def network(module: Module, weights: Mapping[str, Array], dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The emitted network with these weights; its keys are the parameters' paths, in their order."""
    model = build(source_of(module), module.name)
    assert list(model.state_dict()) == [path for path, _ in module.parameters()]
    model.load_state_dict({n: torch.from_numpy(np.asarray(w)) for n, w in weights.items()})
    return model.to(dtype).eval()


@contextmanager
def float64() -> Iterator[None]:
    """Everything that is made without a dtype is float64, as `model.double()` wants its angles and states."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def tensors(arrays: Mapping[str, Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(a)) for a in arrays.values()]


def draw(module: Module, seed: int = 0, sizes: Mapping[str, int] | None = None, whole: int = 4) -> dict[str, Array]:
    """Random inputs: whole numbers below `whole`, normal numbers, bools."""
    generator = np.random.default_rng(seed)
    sizes = {"B": 2, "T": 5, "S": 5, "P": 3, **(sizes or {})}
    found = {}
    for name, type in module.main.inputs:
        shape = tuple(a.size.evaluate(sizes) for a in type.axes)
        found[name] = {
            "int": lambda s: generator.integers(0, whole, s), "real": generator.standard_normal,
            "bool": lambda s: generator.random(s) < 0.6,
        }[type.dtype](shape)
    return found


def values(output: Any) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The values and the penalties of a full form."""
    parts = list(output) if isinstance(output, tuple) else [output]
    penalties = parts.pop() if isinstance(parts[-1], dict) else {}
    return parts, penalties


def assert_agrees(
    module: Module, inputs: Mapping[str, Array] | None = None, ambient: Mapping[str, Array] | None = None
) -> Outputs:
    """In float64 the emitted network computes what the reference computes."""
    inputs = draw(module) if inputs is None else inputs
    weights = random_weights(module, 0)
    expected = run(module, weights, inputs, ambient)
    with float64():
        output = network(module, weights, torch.float64)(*tensors(inputs), *tensors(ambient or {}))
    found, penalties = values(output)
    for tensor, array in zip(found, expected.values, strict=True):
        assert tuple(tensor.shape) == array.shape
        assert tensor.is_floating_point() == (array.dtype == np.float64)
        np.testing.assert_allclose(tensor.detach().numpy(), array, rtol=1e-10, atol=1e-10)
    assert penalties.keys() == expected.penalties.keys()
    for name, value in expected.penalties.items():
        np.testing.assert_allclose(float(penalties[name].detach()), value, rtol=1e-10)
    return expected
