"""A checkpoint of `transformers` as a spec and a run: the import."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...compiler.check import mapped_model
from ...compiler.compile import compile
from ...compiler.facts import weight_facts
from ...compiler.ir.module import Module
from ...compiler.ir.text import print_module
from ...lang import errors, tree
from ...lang.checkpoints import CheckpointMap, maps, resolve_map
from ...lang.config_map import Reading
from ...lang.diagnostics import WeftError
from ...lang.layouts import shape
from ...lang.program import STDLIB, Program, load, load_source
from ...lang.source import Source
from ...lang.weight_map import StoredTensor, WeightPlan
from .. import files
from ..run import Run, environment, exclusive
from .layout import members_of, read_member
from .record import COMPANIONS, Record
from .spec import spec_text
from .tensors import StoredTensors, read_json, write_tensors
from .tokenizer_files import TOKENIZER, tokenizer_text

STAGE = "import"
"""The stage that an imported run is said to have finished."""


@dataclass(frozen=True)
class Imported:
    """A checkpoint in the words of the language: the spec that says it, its compiled model, where its weights are.

    `dropped` is the prefix that the map allows to be missing and that this checkpoint's names lack.
    """

    architecture: str
    config: Mapping[str, Any]
    map: CheckpointMap
    name: str
    spec: str
    module: Module
    plan: WeightPlan
    dropped: str

    def stored_name(self, tensor: StoredTensor) -> str:
        """What a tensor is called in the files."""
        return tensor.name.removeprefix(self.dropped)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {w.path: w.axes.sizes for w in weight_facts(self.module)}


def find_map(architectures: list[str], model_type: str, own: Path | None = None) -> tuple[CheckpointMap, str]:
    """The map for one of these architectures: in a file of the user's, else in the standard library."""
    wanted = [*architectures, *([model_type] if model_type else [])]
    programs = [load(own)] if own is not None else []
    known: list[str] = []
    for name in wanted:
        for program in programs or _library(name):
            if any(d.severity == "error" for d in program.diagnostics):
                raise WeftError(*program.diagnostics)
            here = maps(program)
            known += here
            if name in here:
                unit, item = here[name]
                found = resolve_map(program, unit, item)
                if found is not None:
                    return found, name
    raise WeftError(errors.unknown_architecture(wanted[:1], sorted({*known, *_architectures()})))


_ITEM = re.compile(r'^checkpoint ((?:"[^"\n]*",?\s*)+)', re.MULTILINE)


def _named(path: Path) -> list[str]:
    return [n for names in _ITEM.findall(path.read_text(encoding="utf-8")) for n in re.findall(r'"([^"]*)"', names)]


def _library(architecture: str) -> list[Program]:
    return [load(path) for path in sorted(STDLIB.rglob("*.llm")) if architecture in _named(path)]


def _architectures() -> list[str]:
    return [name for path in sorted(STDLIB.rglob("*.llm")) for name in _named(path)]


def understand(config: Mapping[str, Any], stored: Collection[str], name: str, own: Path | None = None) -> Imported:
    """What a config.json and the names of stored tensors say. Raises WeftError for all that the map does not cover."""
    architectures = [str(a) for a in config.get("architectures") or []]
    found, architecture = find_map(architectures, str(config.get("model_type", "")), own)
    _, parts = mapped_model(found)
    dropped = _dropped(found, stored)
    reading = Reading(found.config(parts), config, lambda n: n in stored or n.removeprefix(dropped) in stored)
    overrides = reading.overrides(lambda path: path[0] in parts)
    changes = [(".".join(path), value) for path, value in overrides]
    model = (found.unit, found.model)
    title = f"{architecture}: what its config.json says, in Weft's words."
    spec = spec_text(name, model, changes, reading.homes, title)
    program = load_source(Source("spec.llm", spec), own.parent if own is not None else None)
    if any(d.severity == "error" for d in program.diagnostics):
        raise WeftError(*program.diagnostics)
    module = compile(program, name)
    plan = found.weights(weight_facts(module), reading)
    return Imported(architecture, config, found, name, spec, module, plan, dropped)


def _dropped(found: CheckpointMap, stored: Collection[str]) -> str:
    """The prefix that may be missing, when no stored tensor has it."""
    optional = [
        n.value for _, line in found.weight_lines()
        if isinstance(line, tree.StoredNames) and line.role == "optional" for n in line.names
    ]
    return next((p for p in optional if not any(n.startswith(p) for n in stored)), "")


def _check_tensors(imported: Imported, stored: StoredTensors) -> None:
    """Every tensor that the map wants is there, of the right shape; every tensor that is there is known."""
    plan, problems = imported.plan, []
    wanted = {imported.stored_name(t): t for t in plan.tensors}
    for name, tensor in wanted.items():
        if name not in stored:
            problems.append(errors.misfit_tensor(name, "is not in the files", tensor.span))
        elif stored.shape(name) != shape(tensor.layout):
            reason = f"is {list(stored.shape(name))}, the model needs {list(shape(tensor.layout))}"
            problems.append(errors.misfit_tensor(name, reason, tensor.span))
    known = (*plan.ignored, *plan.kept)
    dropped = imported.dropped
    lost = [n for n in stored if n not in wanted and not plan.named(n, known) and not plan.named(dropped + n, known)]
    if lost and not problems:
        problems.append(errors.unknown_tensors(lost, str(stored.folder), imported.map.head))
    if problems:
        raise WeftError(*problems[:8])


def import_checkpoint(
    folder: Path,
    run: Run,
    name: str,
    own: Path | None = None,
    tokenizer: Callable[[Path], str | None] = tokenizer_text,
) -> Imported:
    """Read a checkpoint folder into a run folder. Raises WeftError, and leaves nothing, when it is not covered.

    `tokenizer` gives the text of its tokenizer.json (None: it gets none).
    Memory: one weight of the model at a time (of experts that are stored apart: all experts of one layer).
    """
    if not folder.is_dir():
        raise WeftError(errors.no_checkpoint(str(folder), "there is no such folder"))
    if run.folder.exists() and any(run.folder.iterdir()):
        raise WeftError(errors.folder_in_use(str(run.folder)))
    with StoredTensors(folder) as stored:
        imported = understand(read_json(folder / "config.json"), list(stored), name, own)
        _check_tensors(imported, stored)
        text = tokenizer(folder)
        run.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(run.folder):
            _write(imported, folder, stored, run, own)
            if text is not None:
                files.write(run.tokenizer, text)
    return imported


def _write(imported: Imported, folder: Path, stored: StoredTensors, run: Run, own: Path | None) -> None:
    run.stage(STAGE).mkdir(exist_ok=True)
    write_weights(imported, stored, run.weights(STAGE))
    kept = [n for n in stored if imported.plan.named(imported.dropped + n, imported.plan.kept)]
    Record(imported.architecture, imported.dropped, tuple(stored), imported.config).write(run.folder, stored, kept)
    for file in COMPANIONS:
        if (folder / file).is_file() and file != TOKENIZER:
            shutil.copyfile(folder / file, run.folder / file)
    if own is not None:
        shutil.copyfile(own, run.folder / own.name)
    files.write(run.spec, imported.spec)
    printed = print_module(imported.module)
    files.write(run.module, printed)
    files.write_json(run.folder / "environment.json", environment())
    identity: dict[str, Any] = {
        "model": imported.module.name,
        "source": hashlib.sha256(printed.encode()).hexdigest(),
        "tokenizer": None, "recipe": {}, "stages": [STAGE], "exports": [],
    }  # fmt: skip
    files.write_json(run.index, identity)


def write_weights(imported: Imported, stored: StoredTensors, path: Path) -> None:
    """All weights under their paths in the model, in the precision they are stored in."""
    members = members_of(imported.plan.tensors)

    def get(weight: str) -> Tensor:
        parts = members[weight]
        into = torch.empty(imported.shapes[weight], dtype=stored.dtype(imported.stored_name(parts[0][0])))
        for tensor, member in parts:
            read_member(stored[imported.stored_name(tensor)], tensor, member, into)
        return into

    described = [
        (weight, stored.dtype(imported.stored_name(members[weight][0][0])), shape)
        for weight, shape in imported.shapes.items()
    ]
    write_tensors(path, described, get)


