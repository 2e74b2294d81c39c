"""The processes that a recipe asks for, and what they cannot do together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...compiler.ir.module import Module
from ...compiler.sharding import Mesh
from ...lang import errors
from ...lang.diagnostics import Diagnostic, WeftError
from ...lang.plans import RecipePlan, StagePlan
from ..reinforcement.stage import REINFORCED
from ..training.ranks import ALONE, Team
from .processes import fitted, processes, world_size


@contextmanager
def team_of(recipe: RecipePlan, stages: Sequence[StagePlan], module: Module, device: str) -> Iterator[Team]:
    """The processes of a run, for as long as the block lasts: one alone where the recipe has no mesh.

    WeftError when the mesh is not that of the processes that were started (E0985), there are too few GPUs (E0986), or a
    stage asks for something that cannot be had on a mesh (E0784).
    """
    ranks = world_size()
    if recipe.shard is None:
        if ranks > 1:
            raise WeftError(errors.other_ranks(1, ranks, "the recipe has no `shard`", recipe.span))
        yield ALONE
        return
    mesh = fitted(recipe.shard, ranks)
    problems = [problem for stage in stages for problem in refusals(stage, mesh)]
    if problems:
        raise WeftError(*problems)
    with processes(mesh, device) as found:
        yield found


def refusals(stage: StagePlan, mesh: Mesh) -> list[Diagnostic]:
    """What a stage asks for and a mesh cannot give (E0784)."""
    found: list[Diagnostic] = []

    def refuse(what: str, why: str, advice: str, span: object = None) -> None:
        found.append(errors.not_on_mesh(what, why, advice, span or stage.span, mesh.span))  # type: ignore[arg-type]

    cuts = mesh.ranks > mesh.sizes["pipeline"]
    optimizer = stage.optimizer
    if cuts and dict(optimizer.arguments).get("bits") == 8:
        refuse("`bits = 8`", "its blocks would lie across processes", "leave `bits` away", optimizer.span)
    if (objective := stage.loss.objective).name in REINFORCED:
        why, advice = "each process would write texts of its own", "train this stage without `shard`"
        refuse(f"`{objective.name}`", why, advice, objective.span)
    if stage.memory is not None:
        refuse("`memory`", "it counts one device", "say `recompute` and `micro` yourself")
    for selection in stage.quantize:
        span = selection.method.span
        refuse(f"`quantize {selection.method.name}`", "groups would lie across processes", "leave it away", span)
    data, rows, length = mesh.sizes["data"], stage.sizes.unit if stage.sizes else None, stage.row_length
    if rows is not None and rows % data:
        refuse(f"a batch of {rows:,} rows", f"{rows:,} rows", f"let `data` ({data}) be a divisor of it")
    plain = objective.name == "next_token" and not any(v for k, v in objective.arguments if k in ("smoothing", "z"))
    for axis in ("context", "pipeline"):
        if mesh.sizes[axis] > 1 and not plain:
            why = "only `next_token()` is computed in parts"
            refuse(f"`{objective.name}` along `{axis}`", why, f"leave `{axis}` out of the mesh", objective.span)
    if mesh.sizes["context"] > 1:
        if length is None:
            refuse("rows of different length", "tokens are cut evenly", "pack the documents, or leave `context` away")
        elif length % mesh.sizes["context"]:
            refuse(f"rows of {length:,} tokens", "not divisible", f"let `context` be a divisor of {length:,}")
    return found
