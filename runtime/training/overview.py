"""Runs at a glance: what each trained, how far it came, what its losses are; and their curves in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.stages import evaluation_of
from ..evaluation.tasks import Numbers
from ..run import Run
from .history import Row, read_history


@dataclass(frozen=True)
class StageView:
    """A stage of a run. `row` is its newest step (None before the first), `steps` the last one when it is finished."""

    name: str
    finished: bool
    row: Row | None
    validation: float | None
    evaluations: dict[str, Numbers]


@dataclass(frozen=True)
class RunView:
    """A run: `parameters` are those of its model, None when that cannot be read."""

    folder: Path
    model: str
    parameters: int | None
    stages: tuple[StageView, ...]


def runs_below(folder: Path) -> tuple[RunView, ...]:
    """The runs in a folder and below it, in the order of their paths; runs inside of runs are left out."""
    if (folder / "run.json").is_file():
        return (view(Run(folder)),)
    found: list[RunView] = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else ():
        found += runs_below(path)
    return tuple(found)


def view(run: Run) -> RunView:
    """A run at a glance. WeftError when the folder is none."""
    known = run.open()
    stages = tuple(_stage(run, name) for name in known["stages"])
    count = run.read_module("").parameter_count() if run.module.is_file() else None
    return RunView(run.folder, known["model"], count, stages)


def _stage(run: Run, name: str) -> StageView:
    folder = run.stage(name)
    rows = rows_of(folder)
    seen = [row.validation for row in rows if row.validation is not None]
    found = dict(evaluation_of(folder))
    return StageView(name, run.weights(name).is_file(), rows[-1] if rows else None, seen[-1] if seen else None, found)


def rows_of(folder: Path) -> tuple[Row, ...]:
    """The steps of a stage so far."""
    path = folder / "loss.csv"
    return read_history(path) if path.is_file() else ()


def draw_runs(curves: Sequence[tuple[str, Sequence[Row]]], path: Path) -> None:
    """Draws the losses of several stages into one PNG, by tokens: training light, validation with marks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, rows) in enumerate(curves):
        color = f"C{number % 10}"
        axes.plot([r.tokens for r in rows], [r.loss for r in rows], color=color, linewidth=0.7, alpha=0.4)
        seen = [(r.tokens, r.validation) for r in rows if r.validation is not None]
        axes.plot([t for t, _ in seen], [v for _, v in seen], color=color, marker="o", markersize=3, label=name)
    axes.set_xlabel("tokens")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure).print_png(str(path))
