"""`weft check`: is a spec right, and what is in it?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from rich.console import RenderableType

from ..compiler.check import Checked, check
from ..compiler.ir.module import Layers, Module
from ..compiler.quantities import count, size
from ..compiler.stream import state_plan, step
from ..lang.plans import RecipePlan, StagePlan
from ..lang.program import load
from ..lang.render import to_json
from .command import Command
from .specs import add_spec, spec_path
from .tables import table
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    add_spec(parser, model=False)
    parser.add_argument("--json", action="store_true", help="print `{models, recipes, diagnostics}`")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    checked = check(load(spec_path(arguments.file)))
    models = [_model(module) for module in checked.modules.values()]
    stages = [_stage(recipe, stage) for recipe in checked.recipes.values() for stage in recipe.stages]
    if arguments.json:
        found = [to_json(d) for d in checked.diagnostics]
        terminal.json({"models": models, "recipes": stages, "diagnostics": found})
        return 1 if checked.failed else 0
    terminal.complain(*checked.diagnostics)
    if models:
        terminal.show(_models(models), "")
    if stages:
        terminal.show(_stages(stages), "")
    terminal.show(_verdict(checked, arguments.file))
    return 1 if checked.failed else 0


def _model(module: Module) -> dict[str, Any]:
    """What a line about a model says."""
    repeats = {name: len(c.schedule) for name, c in module.root.children if isinstance(c, Layers)}
    states = state_plan(step(module)) if module.stream else ()
    return {
        "model": module.name,
        "parameters": module.parameter_count(),
        "layers": repeats,
        "stream": list(module.stream) if module.stream else None,
        "states": list(dict.fromkeys(f"{state.path.rsplit('.', 1)[-1]} ({state.kind})" for state in states)),
        "state_bytes_per_token": sum(state.bytes_per_token for state in states),
        "state_bytes_fixed": sum(state.fixed_bytes for state in states),
    }


def _stage(recipe: RecipePlan, stage: StagePlan) -> dict[str, Any]:
    """What a line about a stage of a recipe says; None where only the data can tell."""
    length = stage.row_length
    tokens = stage.steps * stage.rows * length if stage.steps and stage.rows and length else None
    return {
        "recipe": recipe.name,
        "model": ".".join(recipe.model) if recipe.model else None,
        "stage": stage.name,
        "loss": stage.loss.objective.name,
        "steps": stage.steps,
        "tokens": tokens,
        "batch": str(stage.batch),
        "row": length,
        "budget": str(stage.budget),
    }


def _models(models: list[dict[str, Any]]) -> RenderableType:
    rows = table("model", "parameters >", "layers", "stream", "remembers", "per token >", "fixed >")
    for m in models:
        layers = ", ".join(f"{name} × {n}" for name, n in m["layers"].items())
        stream = " as ".join(m["stream"]) if m["stream"] else "none"
        per_token, fixed = m["state_bytes_per_token"], m["state_bytes_fixed"]
        rows.add_row(
            m["model"], count(m["parameters"]), layers, stream, ", ".join(m["states"]),
            size(per_token) if per_token else "", size(fixed) if fixed else "",
        )  # fmt: skip
    return rows


def _stages(stages: list[dict[str, Any]]) -> RenderableType:
    rows = table("recipe", "model", "stage", "loss", "budget >", "steps >", "batch >", "row >")
    for s in stages:
        steps = f"{s['steps']:,}" if s["steps"] else "by the data"
        row = f"{s['row']:,}" if s["row"] else ""
        rows.add_row(s["recipe"], s["model"] or "any", s["stage"], s["loss"], s["budget"], steps, s["batch"], row)
    return rows


def _verdict(checked: Checked, path: str) -> str:
    bad = sum(d.severity == "error" for d in checked.diagnostics)
    items = len(checked.program.main.items) + len(checked.program.main.checkpoints)
    if bad:
        return f"{path}: {bad} error{'s' * (bad > 1)}"
    return f"{path}: {items} item{'s' * (items != 1)}, no errors"


COMMAND = Command(
    "check",
    "parse, resolve and check a spec; print a summary of every model and recipe",
    """\
examples:
  weft check model.llm
  weft check model.llm --json
  weft check runs/first

prints what is wrong (all of it, with places and advice) to stderr; then a line for every model (parameters, layers,
what its decoder remembers, in float32) and for every stage of a recipe (steps, batch, row length).
exit codes: 0 no errors, 1 errors, 2 the command was called wrongly""",
    _arguments,
    _run,
)
