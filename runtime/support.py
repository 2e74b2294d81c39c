"""Which valid recipes this version can run; the rest is refused with a diagnostic before anything is computed."""

from __future__ import annotations

from ..compiler.emit.onnx.templates import OPSET
from ..compiler.facts import model_facts
from ..compiler.ir.module import Module
from ..compiler.ir.sources import sources
from ..compiler.selections import selected
from ..lang import errors
from ..lang.diagnostics import Diagnostic, WeftError
from ..lang.plans import ExportPlan, RecipePlan, StagePlan


def check_runnable(recipe: RecipePlan) -> None:
    """WeftError for what a recipe asks of the whole run and this version cannot do."""
    if recipe.shard is not None:
        advice = ("without `shard` the run takes one device",)
        raise WeftError(errors.not_built_yet("`shard`", advice, recipe.shard.span))


def check_trainable(stage: StagePlan, module: Module) -> None:
    """WeftError with everything in a stage that this version cannot run, or that the model cannot be trained with."""
    problems: list[Diagnostic] = []

    def refuse(what: str, span: object, *advice: str) -> None:
        problems.append(errors.not_built_yet(what, advice, span))  # type: ignore[arg-type]

    data = stage.data
    for source, _ in data.sources:
        if source.name != "text":
            refuse(f"`{source.name}` data", source.span, "train on `text`")
    if data.pack is None:
        refuse("training on rows of different length", stage.span, "pack the documents: `|> pack(1024)`")
    if data.dedup is not None and data.dedup["similarity"] < 1:
        refuse("dropping documents that are alike", data.dedup.span, "`dedup()` drops equal ones")
    if stage.loss.objective.name != "next_token":
        refuse(f"`{stage.loss.objective.name}`", stage.loss.objective.span, "train with `next_token()`")
    if stage.optimizer.name != "adamw":
        refuse(f"`{stage.optimizer.name}`", stage.optimizer.span, "use `adamw`")
    for selection in stage.adapt:
        refuse(f"`adapt {selection.method.name}`", selection.method.span, "without `adapt` all weights are trained")
    if stage.precision.compute == "f16":
        refuse("`compute = f16`", stage.span, "use `bf16` or `f32`")
    if stage.precision.params != "f32":
        refuse(
            f"`params = {stage.precision.params}`", stage.span, "keep `params = f32`; `compute = bf16` saves the time"
        )
    if stage.budget.unit == "hours":
        refuse("a budget in hours", stage.span, "state it in tokens, steps or epochs")
    if stage.expect:
        refuse("`expect` in a stage", stage.span, "state what is expected in the recipe")
    if module.stream is None or not module.sequence:
        problems.append(errors.no_stream_to_train(module.name, stage.loss.objective.span))
    if sources(module):
        advice = "models with a text alone can be trained; an emitted model with an encoder has a `loss` of its own"
        refuse("training a model with an encoder", stage.loss.objective.span, advice)
    if problems:
        raise WeftError(*problems)


def check_vocabulary(tokens: int, module: Module) -> None:
    """WeftError unless the model knows every token of a tokenizer."""
    known = model_facts(module).vocabulary
    if known is not None and tokens > known:
        raise WeftError(errors.tokenizer_misfit(tokens, module.name, known))


def check_exportable(recipe: RecipePlan, export: ExportPlan, module: Module | None) -> None:
    """WeftError with everything that a recipe asks of its export and that this version, or the model, cannot do.

    Without a module what only a model can tell is left out.
    """
    problems = []
    if export.target not in ("onnx", "torch"):
        problems.append(errors.not_built_yet(f"`export {export.target}`", ("export `onnx` or `torch`",), export.span))
    if export.get("opset") not in (None, OPSET):
        problems.append(errors.not_built_yet(f"opset {export.get('opset')}", (f"exports have {OPSET}",), export.span))
    if problems:
        raise WeftError(*problems)
    if recipe.quantize and export.get("target") == "portable":
        raise WeftError(errors.no_quantized_operators("portable", recipe.quantize[0].method.span))
    if module is not None:
        selected(recipe.quantize, module)
