"""One training step of an emitted program, run on tensors that have shapes and no numbers."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from ...compiler.depth import Shallow, shallow
from ...compiler.emit.torch import to_torch
from ...compiler.emit.torch.head import Head, split
from ...compiler.ir.module import Module
from ...compiler.passes.editing import holding
from .ledger import Ledger, between, deepened, with_loss
from .watch import Watch, marked

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_FEW = (8, 12, 16)  # tokens of a row where a recurrence runs one by one


@dataclass(frozen=True)
class Shape:
    """What one pass works on: `rows` of `length` tokens, products in `compute`, weights in `params`.

    `recompute` runs every layer once more in the backward pass. `accumulates` says that gradients of earlier passes
    are already there. `frozen` are the parameters (by path) that take no gradient.
    """

    rows: int
    length: int
    compute: str = "f32"
    params: str = "f32"
    recompute: bool = False
    accumulates: bool = False
    frozen: frozenset[str] = frozenset()


def ledger(module: Module, shape: Shape) -> Ledger:
    """The bytes of a forward and a backward pass of a model (in the form it is trained in), layer by layer.

    The emitted program itself runs, with its operators, their derivatives and the types they work in, so what is kept
    is what PyTorch keeps. Of layers that are alike two run. Raises WeftError for what PyTorch cannot say.
    """
    small = shallow(module, shape.frozen)
    with FakeTensorMode():
        network = emitted(to_torch(small.module), small.module.name, _TYPES[shape.params])
        _shorten(vars(sys.modules[type(network).__module__]).get("InChunks"))
        if not holding(module, "scan"):
            return deepened(follow(network, small, shape), small.stands_for)
        points = {length: follow(network, small, replace(shape, length=length)) for length in _FEW}
        estimated = between(points, shape.length)
        if (head := split(small.module)) is not None:
            estimated = with_loss(estimated, _of_the_loss(network, small, head, shape))
    return deepened(estimated, small.stands_for)


def _shorten(chunks: Any) -> None:
    """Lets a loss end after two chunks, of hundreds: a third one needs what the second does."""
    if chunks is not None:
        known = {**chunks.forward.__globals__, "range": lambda *bounds: range(*bounds)[:2]}
        chunks.forward = staticmethod(FunctionType(chunks.forward.__code__, known))


def _of_the_loss(network: nn.Module, small: Shallow, head: Head, shape: Shape) -> Ledger:
    """The ledger of head and loss alone, on what the layers would give them."""
    given = []
    for type in head.module.functions[head.hidden].output_types:
        if type.axes:
            dims = [a.size.evaluate({s: _extent(s, head.module, shape) for s in a.size.symbols}) for a in type.axes]
            given.append(torch.zeros(dims, requires_grad=True))
        else:
            given.append(torch.zeros((), requires_grad=True))
    network.hidden = lambda *_: given[0] if len(given) == 1 else tuple(given)  # type: ignore[assignment]
    return follow(network, Shallow(small.module, {}, small.numbers), shape)


def _extent(symbol: str, module: Module, shape: Shape) -> int:
    return shape.rows if symbol == module.batch else shape.length


def emitted(source: str, name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A module of emitted source; its parameters are not drawn."""
    python = ModuleType("weft_emitted_shapes")
    sys.modules[python.__name__] = python
    exec(compile(source, "<emitted>", "exec"), python.__dict__)  # the compiler's own text
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        module = getattr(python, name)()
    finally:
        torch.set_default_dtype(usual)
    assert isinstance(module, nn.Module)
    return module


def follow(network: nn.Module, small: Shallow, shape: Shape) -> Ledger:
    """The segments of one step on the network's own tensors, real or not."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(small.path(name) not in shape.frozen)
        parameter.grad = torch.zeros_like(parameter) if shape.accumulates and parameter.requires_grad else None
    layers = {path: list(network.get_submodule(path)) for path in small.stands_for}  # type: ignore[call-overload]
    given = inputs(network, small.module, shape)
    existing = [p.grad for p in network.parameters() if p.grad is not None]
    watch = Watch([*network.parameters(), *given.values(), *existing])
    with _recomputed(layers, shape.recompute), marked(watch, layers):
        with watch, torch.autocast("cpu", _TYPES[shape.compute], enabled=shape.compute != "f32"):
            value = total(_loss(network)(**given))
        watch.mark(None)
        forward = tuple(watch.segments)
        watch.segments.clear()
        watch.backward = True
        with watch:
            value.backward()
        watch.mark(None)
    return Ledger(forward, tuple(watch.segments))


class _recomputed:
    """While it lasts, layers keep their inputs only and run again when their gradient is asked for."""

    def __init__(self, layers: dict[str, list[nn.Module]], recompute: bool) -> None:
        self.layers = [m for modules in layers.values() for m in modules] if recompute else []

    def __enter__(self) -> None:
        for module in self.layers:
            module.forward = _again(module.forward)

    def __exit__(self, *_: object) -> None:
        for module in self.layers:
            del module.forward


def _again(forward: Any) -> Any:
    return lambda *given, **named: checkpoint(forward, *given, use_reentrant=False, **named)


def _loss(network: nn.Module) -> Any:
    return getattr(network, "loss", network.forward)


def total(result: Any) -> Tensor:
    """The number that is differentiated: the loss with its penalties, or the sum of what a model without loss gives."""
    if isinstance(result, tuple) and isinstance(result[-1], dict):
        loss, penalties = result
        return torch.stack([loss, *penalties.values()]).sum() if penalties else loss
    values = result if isinstance(result, tuple) else (result,)
    return torch.stack([v.float().sum() for v in values if isinstance(v, Tensor) and v.is_floating_point()]).sum()


def inputs(network: nn.Module, module: Module, shape: Shape) -> dict[str, Tensor]:
    """Arguments of the loss, of the right shapes: all zeros, every label counted."""
    types = dict(module.main.inputs)
    given = {}
    for name, parameter in inspect.signature(_loss(network)).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            continue
        if name in types:
            sizes = types[name].axes
            dims = [a.size.evaluate({s: _extent(s, module, shape) for s in a.size.symbols}) for a in sizes]
            kind = {"int": torch.int64, "bool": torch.bool}.get(types[name].dtype, torch.float32)
            given[name] = torch.zeros(dims, dtype=kind)
        elif name == "weight":
            given[name] = torch.ones((shape.rows, shape.length))
        else:
            given[name] = torch.ones((shape.rows, shape.length), dtype=torch.int64)
    return given
