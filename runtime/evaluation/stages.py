"""Evaluations of a recipe, done with what each stage ended with, and kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...compiler.heads import PARAMETERS
from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.plans import Term, plain
from .. import files
from ..session import Session
from ..trained import Trained
from .subject import Subject
from .tasks import Numbers, evaluate

NAME = "evaluation.json"
SAMPLES = "answers.jsonl"
"""What was asked and what was written, a record for each."""
_TASK = "task"
"""What an evaluation was, beside its numbers."""


def subject_of(trained: Trained, device: str) -> Subject:
    """A run as what is evaluated: PyTorch with the derived cache, or over whole texts where there is none."""
    engine = trained.torch_engine(True, device)
    how = trained.run.conventions
    return Subject(engine, trained.tokenizer, how.special if how else {}, how.template if how else None)


def evaluate_stage(
    trained: Trained, tasks: tuple[tuple[str, Term], ...], folder: Path, device: str
) -> Mapping[str, Numbers]:
    """The numbers of every evaluation by its name, also written into the folder of the stage.

    Stages that end with a head of their own (rewards, classes) write no texts and have no numbers. `folder` is where
    the paths of the recipe start.
    """
    found: dict[str, Numbers] = {}
    writes = not any(path in PARAMETERS for path, _ in trained.module.parameters())
    if tasks and writes:
        subject = subject_of(trained, device)
        found = {name: evaluate(subject, task, folder) for name, task in tasks}
        answers = "".join(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in subject.answers)
        files.write(trained.run.stage(trained.stage) / SAMPLES, answers)
    asked = dict(tasks)
    kept = {name: {_TASK: plain(asked[name]), **numbers} for name, numbers in found.items()}
    files.write_json(trained.run.stage(trained.stage) / NAME, kept)
    return found


def was_evaluated(folder: Path, tasks: tuple[tuple[str, Term], ...]) -> bool:
    """Whether just these evaluations of the stage in a folder were done."""
    done = {name: entry.get(_TASK) for name, entry in _kept(folder).items()}
    return (folder / NAME).is_file() and done == json.loads(json.dumps({name: plain(task) for name, task in tasks}))


def evaluation_of(folder: Path) -> Mapping[str, Numbers]:
    """The numbers that were written into the folder of a stage; none when it was not evaluated."""
    return {name: {k: v for k, v in entry.items() if k != _TASK} for name, entry in _kept(folder).items()}


def _kept(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise WeftError(errors.bad_run_folder(str(folder), f"its `{NAME}` cannot be read")) from error


def subject_of_export(session: Session) -> Subject:
    """An export as what is evaluated."""
    how = session.conventions()
    special, template = (how.special, how.template) if how else ({}, None)
    return Subject(session, session.load_tokenizer(), special, template)
