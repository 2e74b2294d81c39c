"""Errors of adapters (E097x)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from ..source import Span
from .base import code, finding, one_of


@code("E0970", "nothing that can be adapted so")
def not_adaptable(method: str, path: str, wanted: Sequence[str], span: Span | None = None) -> Diagnostic:
    """`wanted` are the blocks that the method stands in for."""
    return finding(
        f"`{method}` has nothing to stand in for at `{path}`", span, "selects no such part",
        help=(f"it stands in for {one_of(wanted)}",) if wanted else (),
    )


@code("E0971", "adapter that cannot be read")
def unreadable_adapter(folder: str, reason: str, advice: Sequence[str] = ()) -> Diagnostic:
    return finding(f"the adapter in `{folder}` cannot be read: {reason}", help=advice)


@code("E0972", "adapter that cannot be merged")
def not_mergeable(path: str, block: str, reason: str) -> Diagnostic:
    return finding(
        f"the `{block}` at `{path}` cannot be merged into the weights: {reason}",
        help=("keep it as an adapter: the adapted model runs, trains and exports as it is",),
    )


@code("E0973", "adapter that PEFT cannot hold")
def not_writable_adapter(reason: str) -> Diagnostic:
    return finding(f"these adapters have no form in the files of PEFT: {reason}")


@code("E0974", "model that is no base with adapters")
def no_adapters(model: str) -> Diagnostic:
    return finding(
        f"`{model}` is no base model with adapters beside its weights",
        help=("write it as `model NAME = BASE with { PATH = LoRA(original, ..) }`, and change nothing else there",),
    )


@code("E0975", "checkpoint of a model with adapters")
def no_checkpoint_for_adapters(folder: str) -> Diagnostic:
    return finding(
        f"the run in `{folder}` has adapters beside its weights, for which a checkpoint has no place",
        help=(
            f"write them into the weights first: `weft merge {folder} --out NEW`",
            f"write them alone: `weft export {folder} --to peft`",
        ),
    )
