"""A run as a checkpoint of `transformers`: the export, by the same map as the import, turned around."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from ...compiler.check import mapped_model
from ...compiler.compile import compile
from ...compiler.facts import weight_facts
from ...compiler.ir.text import print_module
from ...compiler.lower.elaborate import Elaborator
from ...compiler.lower.model import deep_recursion, model_item
from ...lang import errors
from ...lang.checkpoints import maps, resolve_map
from ...lang.diagnostics import Diagnostic, WeftError
from ...lang.layouts import shape
from ...lang.program import load, name_span
from .. import files
from ..run import Run
from .layout import write_stored
from .reading import Imported, understand
from .record import COMPANIONS, CONFIG, FOLDER, KEPT, Record
from .solving import Solver
from .tensors import INDEX, WHOLE, Described, StoredTensors, write_tensors

SHARD = 5_000_000_000
"""Bytes of one file; what is larger is written in several, with an index."""


def export_checkpoint(run: Run, stage: str, folder: Path) -> Path:
    """Write the weights of a finished stage as `transformers` has them. Raises WeftError when no map says how.

    Tensors that were imported and not trained since are written bit for bit. Memory: one stored tensor at a time.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeftError(errors.folder_in_use(str(folder)))
    record = Record.open(run.folder)
    imported = _as_it_came(run, record) if record is not None else None
    if imported is None:
        imported = describe(run)
    with ExitStack() as opened:
        weights = opened.enter_context(StoredTensors(run.weights(stage)))
        beside = run.folder / FOLDER / KEPT
        kept = opened.enter_context(StoredTensors(beside)) if beside.is_file() else None
        with files.new_folder(folder) as new:
            _write_tensors(imported, weights, kept, new)
            files.write_json(new / CONFIG, imported.config)
            for companion in COMPANIONS:
                if (run.folder / companion).is_file():
                    shutil.copyfile(run.folder / companion, new / companion)
    return folder


def config_of(run: Run) -> Mapping[str, Any] | None:
    """The config.json of a run's model, by which other libraries know its sizes; None when no map can write one."""
    record = Record.open(run.folder)
    imported = _as_it_came(run, record) if record is not None else None
    if imported is not None:
        return imported.config
    try:
        return describe(run).config
    except WeftError:  # why there is none is asked where a checkpoint is wanted
        return None


def _as_it_came(run: Run, record: Record) -> Imported | None:
    """What was imported, if the model of the run is still the same."""
    own = next((p for p in sorted(run.folder.glob("*.llm")) if p != run.spec), None)
    found = understand(record.config, record.tensors, str(run.open()["model"]), own)
    return found if print_module(found.module) == run.module.read_text(encoding="utf-8") else None


def describe(run: Run) -> Imported:
    """The model of a run in the words of a map: the first under which its config.json reads as this very model."""
    name = str(run.open()["model"])
    program = load(run.spec)
    unit, item = model_item(program, name)
    wanted = run.module.read_text(encoding="utf-8")
    component = Elaborator().item(unit, item, name_span(item))
    problems: list[Diagnostic] = []
    for architecture, (home, found) in maps(program).items():
        resolved = resolve_map(program, home, found)
        if resolved is None:
            continue
        base, parts = mapped_model(resolved)
        del base
        elaborator = Elaborator()
        theirs = resolved.unit.find(resolved.model)
        assert theirs is not None
        other = elaborator.item(*theirs, resolved.head)
        if other.declaration is not component.declaration:
            continue
        try:
            module = compile(program, name)
            tensors = tuple(t.name for t in resolved.weights(weight_facts(module)).tensors)
            with deep_recursion():
                root = Elaborator().place(component)
                config = Solver(resolved.config(parts), root, tensors).config()
            imported = understand({"architectures": [architecture], **config}, tensors, name)
        except WeftError as error:
            problems += error.diagnostics
            continue
        if print_module(imported.module) == wanted:
            return imported
        problems.append(errors.unwritable_config(name, f"read back, the config of \"{architecture}\" is another model",
                                                 resolved.head))
    raise WeftError(*(problems or [errors.unknown_architecture([name], [])]))


def _write_tensors(imported: Imported, weights: StoredTensors, kept: StoredTensors | None, folder: Path) -> None:
    getters: dict[str, Callable[[], Tensor]] = {}
    described: list[Described] = []
    for tensor in imported.plan.tensors:
        name = imported.stored_name(tensor)
        paths = [m.path for m in tensor.members]
        getters[name] = lambda t=tensor, p=paths: write_stored(t, [weights[path] for path in p])  # type: ignore[misc]
        described.append((name, weights.dtype(paths[0]), shape(tensor.layout)))
    for name in kept or ():
        assert kept is not None
        getters[name] = lambda n=name: kept[n]  # type: ignore[misc]
        described.append((name, kept.dtype(name), kept.shape(name)))
    shards = list(_shards(described))
    names = [WHOLE] if len(shards) == 1 else [
        f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))
    ]
    for file, shard in zip(names, shards, strict=True):
        write_tensors(folder / file, shard, lambda name: getters[name](), {"format": "pt"})
    if len(shards) > 1:
        where = {name: file for file, shard in zip(names, shards, strict=True) for name, _, _ in shard}
        total = sum(_size(d) for d in described)
        files.write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def _size(described: Described) -> int:
    _, dtype, found = described
    count = 1
    for length in found:
        count *= length
    return count * dtype.itemsize


def _shards(described: Sequence[Described]) -> Iterator[list[Described]]:
    here: list[Described] = []
    filled = 0
    for one in described:
        if here and filled + _size(one) > SHARD:
            yield here
            here, filled = [], 0
        here.append(one)
        filled += _size(one)
    yield here
