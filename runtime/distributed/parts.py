"""What one process has of a model: its program, its part of every parameter, and how these lie over all processes."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard

from ...compiler.emit.torch import to_torch
from ...compiler.ir.module import Module
from ...compiler.sharding import sharded
from ...compiler.sharding.stages import PipelineStage, stages
from .. import files
from .layout import SHARDS, Layout, cut
from .processes import Processes

_ENTRIES = ("loss", "hidden", "logits", "forward")


@dataclass(frozen=True, eq=False)
class Parts:
    """One process' part. `model` runs; `parameters` are what this process updates, by their names in the whole.

    `names` leads from the names of `model` to those. `layouts` has all parameters of the whole, `holders` the stages of
    the pipeline that have each. `mesh` has a dimension for each axis that cuts parameters, and `shards`, over which
    FSDP cuts what is left; it holds the processes of this stage. `stage` is None where there is one only. `between`
    are the processes that share parameters, by the stages that do.
    """

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    names: Mapping[str, str]
    layouts: Mapping[str, Layout]
    holders: Mapping[str, tuple[int, ...]]
    mesh: DeviceMesh
    processes: Processes
    stage: PipelineStage | None = None
    between: Mapping[tuple[int, ...], dist.ProcessGroup] = field(default_factory=dict)

    def collect(self) -> None:
        """Takes the gradients over from the model; they are complete then."""
        for name, own in self.model.named_parameters():
            part = self.parameters[self.names[name]]
            if part is not own:
                gradient, own.grad = own.grad, None
                if isinstance(gradient, DTensor):
                    gradient = gradient.to_local()
                elif gradient is not None:  # a single number, which FSDP leaves alone
                    dist.all_reduce(gradient, group=self.mesh.get_group(SHARDS))
                part.grad = gradient
        for name, part in self.parameters.items():
            if len(self.holders[name]) > 1 and part.requires_grad:
                if part.grad is None:
                    part.grad = torch.zeros_like(part)
                dist.all_reduce(part.grad, group=self.between[self.holders[name]])

    def copies(self, name: str) -> int:
        """How many processes hold the same part of a parameter."""
        held = self.mesh.size() * len(self.holders[name])
        for _, axis in self.layouts[name].steps:
            held //= self.mesh[axis].size()
        return held

    @torch.no_grad()
    def whole(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter as a whole, on the CPU, one at a time. All processes take part; the first one gets them."""
        processes = self.processes
        at = processes.coordinates["pipeline"]
        lines = processes.ranks.reshape(processes.size("pipeline"), -1)
        for name, layout in self.layouts.items():
            owner = self.holders[name][0]
            speaks = processes.rank == int(lines[owner, 0])
            found = torch.empty(0)
            if at == owner:
                found = layout.whole(self.parameters[name].detach(), self.mesh).cpu()
            if owner and speaks:
                dist.send(found.contiguous(), 0, group=processes.talk)
            elif owner and processes.first:
                found = torch.empty(layout.shape, dtype=self.dtype)
                dist.recv(found, int(lines[owner, 0]), group=processes.talk)
            yield name, found

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.parameters.values())).dtype


class PartsOfModel(nn.Module):
    """The parts that one process updates, by the names that the whole parameters have."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self._parts.parameters.items()


def distributed(
    module: Module, whole: nn.Module, again: Mapping[str, int], processes: Processes, folder: Path
) -> Parts:
    """One process' part of an emitted module in its form of rows; `whole` has its weights, and has none afterwards.

    `again` says which layers are computed once more in the backward pass (see `to_torch`). The program of the process
    is written into `folder`. Raises WeftError (E0780 to E0783).
    """
    own = sharded(module, processes.mesh)
    count, at = processes.size("pipeline"), processes.coordinates["pipeline"]
    cut_up = stages(own.module, count, processes.mesh.span) if count > 1 else ()
    stage = cut_up[at] if cut_up else None
    program = own.module if stage is None else stage.module
    processes.first_alone(lambda: _write(own.module, cut_up, again, folder))
    model, groups = _imported(program.name, folder / _file(None if stage is None else at))
    groups.update(processes.groups)
    given = dict(whole.named_parameters())
    names = {name: name for name in given} if stage is None else dict(stage.names)
    for name, parameter in model.named_parameters():
        there = given[names[name]]
        part = cut(there.detach(), own.cuts[names[name]], processes.mesh.sizes, processes.coordinates)
        parameter.data.copy_(part)
        parameter.requires_grad_(there.requires_grad)
    model.to(processes.device)
    summed = tuple(axis for axis in ("data", "context") if axis == "data" or axis in own.summed)
    rest = {axis: (axis,) for axis in ("expert", "context", "tensor") if axis not in summed}
    mesh = processes.device_mesh({"pipeline": ("pipeline",), **rest, SHARDS: summed})
    mesh = mesh[(*rest, SHARDS)]
    dimensions = _shard(model, mesh)
    if stage is not None and stage.sends:
        setattr(model, "loss", model.forward)  # noqa: B010 (what this stage has of the loss)
    ranks = mesh[SHARDS].size()
    layouts = {}
    for name, parameter in given.items():
        size = cut(parameter.detach(), own.cuts[name], processes.mesh.sizes, processes.coordinates).shape
        layouts[name] = Layout(tuple(parameter.shape), own.cuts[name], _dimension(size, ranks))
    assert all(layouts[names[name]].sharded == at for name, at in dimensions.items())
    for parameter in whole.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)
    stages_of = [set(s.names.values()) for s in cut_up] or [set(given)]
    holders = {name: tuple(i for i, held in enumerate(stages_of) if name in held) for name in given}
    parameters = {names[name]: p for name, p in _parameters(model).items()}
    between = _between(sorted(set(holders.values())), processes)
    return Parts(model, parameters, names, layouts, holders, mesh, processes, stage, between)


def _file(stage: int | None) -> str:
    return "part.py" if stage is None else f"part-{stage}.py"


def _write(module: Module, cut_up: tuple[PipelineStage, ...], again: Mapping[str, int], folder: Path) -> None:
    if not cut_up:
        files.write(folder / _file(None), to_torch(module, again))
    for i, stage in enumerate(cut_up):
        own = {path: max(0, count - stage.start) for path, count in again.items()}
        files.write(folder / _file(i), to_torch(stage.module, own))


def _imported(name: str, path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The module of emitted source, and the groups of processes that it speaks with."""
    spec = importlib.util.spec_from_file_location(f"weft_emitted_{path.stem.replace('-', '_')}", path)
    assert spec is not None and spec.loader is not None
    python = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python)
    return getattr(python, name)(), vars(python).get("GROUPS", {})


def _between(shared: list[tuple[int, ...]], processes: Processes) -> dict[tuple[int, ...], dist.ProcessGroup]:
    """For each set of several stages that share parameters: the processes with the same parts of them."""
    found = {}
    lines = processes.ranks.reshape(processes.size("pipeline"), -1)
    for held in (s for s in shared if len(s) > 1):
        for i in range(lines.shape[1]):
            ranks = [int(lines[stage, i]) for stage in held]
            group = dist.new_group(ranks)
            if processes.rank in ranks:
                found[held] = group
    return found


def layers(model: nn.Module) -> list[nn.Module]:
    """The layers of an emitted module, which stand in lists."""
    return [layer for child in model.modules() if isinstance(child, nn.ModuleList) for layer in child]


def _shard(model: nn.Module, mesh: DeviceMesh) -> dict[str, int | None]:
    """Puts a model under FSDP, layer by layer, over the dimension `shards`; the dimension each parameter is cut in."""
    ranks = mesh[SHARDS].size()
    chosen = {name: _dimension(p.shape, ranks) for name, p in model.named_parameters()}
    if ranks == 1:
        return chosen
    own = mesh[SHARDS]
    places = {id(p): chosen[name] for name, p in model.named_parameters()}
    single = {p for p in model.parameters() if not p.dim()}

    def placement(parameter: nn.Parameter) -> Shard:
        at = places[id(parameter)]
        assert at is not None
        return Shard(at)

    units = (*layers(model), model)
    for module in units:
        fully_shard(module, mesh=own, shard_placement_fn=placement, ignored_params=single)
    for module in units:
        module.set_gradient_divide_factor(1.0)  # type: ignore[operator]
        module.set_force_sum_reduction_for_comms(True)  # type: ignore[operator]
    inside: list[str] = []
    for entry in _ENTRIES:
        if hasattr(model, entry):
            _register(model, entry, inside)
    return chosen


def _register(model: nn.Module, name: str, inside: list[str]) -> None:
    """Lets a method gather the parameters as `forward` does, unless it is called from another one that does (`inside`).

    It keeps its signature, which callers look at.
    """
    plain = getattr(model, name)
    signature = inspect.signature(plain)
    register_fsdp_forward_method(model, name)
    registered = getattr(model, name)

    def entry(*arguments: Any, **named: Any) -> Any:
        if inside:
            return plain(*arguments, **named)
        inside.append(name)
        try:
            return registered(*arguments, **named)
        finally:
            inside.pop()

    entry.__signature__ = signature  # type: ignore[attr-defined]
    setattr(model, name, entry)


def _dimension(shape: Sequence[int], ranks: int) -> int | None:
    """Where FSDP cuts a parameter: along its longest dimension that can be cut evenly, else along the first."""
    if ranks == 1 or not shape:
        return None
    even = [i for i, size in enumerate(shape) if size % ranks == 0]
    return max(even, key=lambda i: shape[i], default=0)


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The values that this process updates: those of a sharded parameter share its memory."""
    found = {}
    for name, parameter in model.named_parameters():
        if isinstance(parameter, DTensor):
            with torch.no_grad():
                local = parameter.to_local()
            found[name] = nn.Parameter(local, requires_grad=parameter.requires_grad)
        elif any(isinstance(p, DTensor) for p in model.parameters()):
            found[name] = nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
        else:
            found[name] = parameter
    return found
