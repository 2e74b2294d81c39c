"""Recipes, run: their stages one after another, each from where it stopped, into one run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from ...compiler.emit.torch import to_torch
from ...compiler.heads import PARAMETERS
from ...compiler.hidden import hidden_matrices
from ...compiler.ir.module import Module
from ...compiler.ir.text import print_module
from ...compiler.matrices import matrices
from ...compiler.objectives import Objective
from ...compiler.sharding import check_mesh
from ...compiler.stream import rows
from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.plans import RecipePlan, StagePlan, plain
from ...lang.program import Program, load
from .. import files
from ..adapters.runs import write_adapted
from ..distributed.team import team_of
from ..evaluation.stages import evaluate_stage, was_evaluated
from ..examples.padded import PaddedExamples
from ..hub.record import carry
from ..model import build, save_tensors
from ..optim.updates import updates
from ..progress import Reporter, duration
from ..reinforcement.stage import REINFORCED, reinforced
from ..run import Run, enter, exclusive
from ..trained import Trained
from .batches import Examples
from .few_bits import install
from .objective import Learning
from .objectives import compiled_objective, entry, head_outputs, objective_of
from .ranks import Share, Team
from .recompute import arrange
from .report import write_report
from .stage_data import stage_data
from .stage_model import StageModel, stage_model
from .support import check_trainable, check_vocabulary
from .task import Task
from .train import HERE, SILENT, Options, Result, train
from .value_head import keep_value_head
from .virtual_tokens import WithVirtualTokens


@dataclass(frozen=True)
class Training:
    """What the stages of one training share. `module` is the model of the recipe in full form."""

    program: Program
    module: Module
    recipe: RecipePlan
    origin: Path
    run: Run
    options: Options
    reporter: Reporter
    team: Team


def train_recipe(
    program: Program,
    module: Module,
    recipe: RecipePlan,
    origin: Path,
    run: Run,
    *,
    only: str | None = None,
    options: Options = HERE,
    reporter: Reporter = SILENT,
) -> dict[str, Result]:
    """Trains the stages of a recipe (or `only` one) into a run folder, continuing what is there.

    `module` is the model in full form, compiled from `program`; `origin` is the folder that data patterns start in.
    Stages that this version cannot run are refused before anything else.
    """
    stages = recipe.stages if only is None else (_named(recipe, only),)
    if recipe.shard is not None:
        check_mesh(module, recipe.shard)
    for stage in stages:
        check_trainable(stage, module)
        if stage.start is not None:
            check_start(Run(origin / stage.start), module, stage)
    with team_of(recipe, stages, module, options.device) as team, ExitStack() as held:
        team.first_alone(lambda: _occupy(run, held))
        team.first_alone(lambda: enter(run, module, recipe, program.main.source.text, stages))
        training = Training(program, module, recipe, origin, run, options, reporter if team.first else SILENT, team)
        found = {stage.name: _train_stage(training, stage) for stage in stages}
        team.first_alone(lambda: write_report(run))
        return found


def _occupy(run: Run, held: ExitStack) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    held.enter_context(exclusive(run.folder))


def check_start(run: Run, module: Module, stage: StagePlan) -> None:
    """WeftError unless a stage may start from a run: it is finished, and its model is the one to train.

    What the model is called does not matter.
    """
    theirs = run.read_module(run.finished_stage())
    if print_module(replace(theirs, name=module.name)) != print_module(module):
        counts = [m.parameter_count() for m in (theirs, module)]
        reason = "its model is defined otherwise"
        if counts[0] != counts[1]:
            reason = f"its model `{theirs.name}` has {counts[0]:,} parameters, `{module.name}` has {counts[1]:,}"
        raise WeftError(errors.other_start(str(run.folder), reason, stage.span))


def _named(recipe: RecipePlan, name: str) -> StagePlan:
    for stage in recipe.stages:
        if stage.name == name:
            return stage
    raise WeftError(errors.unknown_choice(name, "--stage", [s.name for s in recipe.stages], recipe.span))


def _train_stage(training: Training, stage: StagePlan) -> Result:
    """Trains one stage, or gives what it came to when it was finished before."""
    run, options, reporter, team = training.run, training.options, training.reporter, training.team
    folder = run.stage(stage.name)
    if run.weights(stage.name).is_file():
        known = partial(was_evaluated, folder, training.recipe.evaluations)
        team.first_alone(lambda: None if known() else _look_back(training, stage))
        return _read_result(folder, reporter, stage)
    folder.mkdir(exist_ok=True)
    compiled = compiled_objective(training.program, stage)
    data = team.first_first(
        lambda: stage_data(
            training.recipe, stage, training.module, training.origin, run, options, reporter, compiled.signals
        )
    )
    check_vocabulary(run.load_tokenizer().size, training.module)
    chosen, before = team.first_first(lambda: _beginning(training, stage, head_outputs(compiled, data.classes)))
    apart = stage.data.pack is None or not stage.data.pack["across"]
    form = rows(chosen.module) if apart else chosen.module
    stage, again = arrange(stage, form, chosen.frozen, options.device, reporter)
    model = team.first_first(lambda: build(to_torch(form, again), form.name, folder / "model.py"))
    chosen.begin(model, before, stage.seed)
    examples = data.examples
    if chosen.virtual_tokens:
        if stage.data.pack is not None:
            raise WeftError(errors.packed_virtual_tokens(stage.data.pack.span))
        examples = WithVirtualTokens(examples, chosen.virtual_tokens)
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    install(model, chosen.rounding(stage.quantize), learned)
    counts = [sum(p.numel() for p in model.parameters() if p.requires_grad), sum(p.numel() for p in model.parameters())]
    held = "" if counts[0] == counts[1] else f" of {counts[1]:,} ({100 * counts[0] / counts[1]:.2f} %)"
    trained = f"{counts[0]:,}{held} parameters"
    reporter.say(f"{stage.name}: {trained}, {stage.precision.compute}, {options.device}")
    share = team.share(form, model, again, folder)
    if stage.compile:
        share.compile(entry(training.program, stage, share.model))
    inner, examples = team.first_first(
        lambda: _learning(training, stage, compiled, chosen, share.model, examples)
    )
    objective, module = share.objective(inner), chosen.module
    task = Task(
        share.parameters,
        objective,
        examples,
        matrices(module),
        data.baseline,
        hidden_matrices(module),
        updates(stage.updates, module),
        share.ranks,
    )
    result = train(task, stage, folder, options=options, reporter=reporter)
    if result.finished:
        keep_value_head(share.model, folder / "value.safetensors")
        team.first_alone(lambda: files.write_json(folder / "result.json", plain(result)))
        _keep(run, stage, chosen, share, team)
        team.first_alone(lambda: _look_back(training, stage))
        reporter.say(_summary(stage, result))
    return result


def _learning(
    training: Training,
    stage: StagePlan,
    compiled: Objective,
    chosen: StageModel,
    model: nn.Module,
    examples: Examples,
) -> tuple[Learning, Examples]:
    """What is made small, and what it sees: the examples of the data, or texts that the model writes behind them."""
    run, origin, device = training.run, training.origin, training.options.device
    if stage.loss.objective.name in REINFORCED:
        assert isinstance(examples, PaddedExamples)
        return reinforced(compiled, chosen.module, model, examples, stage, run, origin, device)
    return objective_of(training.program, compiled, chosen, model, stage, run, origin, device), examples


def _look_back(training: Training, stage: StagePlan) -> None:
    """What follows the weights of a stage: the evaluations of the recipe.

    A run that is stopped before they are written does them when it goes on.
    """
    trained = Trained(training.run, stage.name)
    found = evaluate_stage(trained, training.recipe.evaluations, training.origin, training.options.device)
    for name, numbers in found.items():
        told = ", ".join(f"{what} {value:,.3g}" for what, value in numbers.items())
        training.reporter.say(f"{stage.name}: {name}: {told}")


def _beginning(
    training: Training, stage: StagePlan, outputs: int | None
) -> tuple[StageModel, Mapping[str, Tensor] | None]:
    """What a stage trains, and the weights of the model before it (None: they are drawn).

    `outputs` asks for a head of so many scores for each token.
    """
    run, program, module = training.run, training.program, training.module
    weights = None
    if stage.source is not None:
        if not run.weights(stage.source).is_file():
            raise WeftError(errors.no_run(str(run.folder), f"{stage.source}/weights.safetensors"))
        weights = safetensors.torch.load_file(run.weights(stage.source))
        module = run.read_module(stage.source)  # with its head, and with adapters that cannot be merged
        if run.own_spec(stage.source).is_file():
            program = load(run.own_spec(stage.source))
    elif stage.start is not None:
        other = Run(training.origin / stage.start)
        tokenizer = training.recipe.tokenizer
        known = tokenizer is not None and tokenizer.name == "run" and tokenizer["path"] == stage.start
        if training.team.first and not known:  # with its tokenizer all came along, and chats may have changed it since
            carry(other.folder, run.folder, run.spec.name)
        weights = safetensors.torch.load_file(other.weights(other.finished_stage()))
    if weights is not None and set(PARAMETERS) <= set(weights):
        outputs = None  # the head is there already
    return stage_model(program, module.name, module, stage, outputs), weights


def _keep(run: Run, stage: StagePlan, chosen: StageModel, share: Share, team: Team) -> None:
    """Writes what a stage learned: weights of the model that it began with where they can hold it, and its adapters.

    The weights are written last: they say that the stage is finished.
    """
    if chosen.adaptation is not None and chosen.merges:
        weights = dict(share.weights())
        team.first_alone(lambda: _keep_merged(run, stage, chosen, weights))
    else:
        team.first_alone(lambda: _keep_module(run, stage, chosen))
        share.write(run.weights(stage.name))


def _keep_merged(run: Run, stage: StagePlan, chosen: StageModel, weights: Mapping[str, Tensor]) -> None:
    assert chosen.adaptation is not None
    write_adapted(run, Run(run.stage(stage.name) / "adapter"), chosen.adaptation, weights)
    _keep_module(run, stage, chosen)
    save_tensors(dict(chosen.merged(weights)), run.weights(stage.name))


def _keep_module(run: Run, stage: StagePlan, chosen: StageModel) -> None:
    if chosen.adaptation is not None and not chosen.merges:
        files.write(run.own_spec(stage.name), chosen.adaptation.program.main.source.text)
    if chosen.head or not chosen.merges:
        files.write(run.own_module(stage.name), print_module(chosen.original if chosen.merges else chosen.module))


def _read_result(folder: Path, reporter: Reporter, stage: StagePlan) -> Result:
    """What a stage came to that was finished before: its weights are written last."""
    try:
        result = Result(**json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WeftError(errors.bad_run_folder(str(folder), "its `result.json` cannot be read")) from error
    reporter.say(_summary(stage, result))
    return result


def _summary(stage: StagePlan, result: Result) -> str:
    told = f"training loss {result.loss:.3f}"
    if result.validation is not None:
        told = f"validation loss {result.validation:.3f}"
    if result.unigram is not None:
        told += f" nats per token; entropy of single tokens {result.unigram:.3f}"
    return f"{stage.name}: {result.tokens:,} tokens in {duration(result.seconds)}; {told}"
