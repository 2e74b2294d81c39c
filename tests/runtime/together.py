"""Trains recipes in several processes that speak by gloo, several recipes one after another in the same processes.

Run as a program: `together.py RANKS JOBS`. JOBS is a JSON file: a list of {"spec", "out", "steps"}. The first process
writes what a recipe is refused with to OUT.refused, and what it compiled to OUT.compiled.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from weft.compiler.compile import compile
from weft.lang.diagnostics import WeftError
from weft.lang.program import load
from weft.lang.recipes import check_recipe
from weft.runtime.optim import muon
from weft.runtime.run import Run
from weft.runtime.training.stages import train_recipe
from weft.runtime.training.train import Options


def train(spec: Path, out: Path, steps: int | None) -> None:
    """Trains the recipe of a spec, up to a step."""
    program = load(spec)
    recipe = check_recipe(program.main.items["Train"], None)
    module = compile(program, ".".join(recipe.model or ()))
    train_recipe(program, module, recipe, spec.parent, Run(out), options=Options("cpu", steps))


COMPILED: list[str] = []
"""The names of what `torch.compile` was called for."""


def exactly(patch: pytest.MonkeyPatch) -> None:
    """Muon's products in float32: in bfloat16 a sum in another order is another update.

    And `torch.compile` without machine code, which takes a minute: graphs with their gradients, run as they are.
    """
    compiler = torch.compile

    def compiled(function: Callable[..., Any], **settings: bool) -> Callable[..., Any]:
        COMPILED.append(function.__qualname__)
        return compiler(function, backend="aot_eager", **settings)

    patch.setattr(muon, "COMPUTE", torch.float32)
    patch.setattr(torch, "compile", compiled)


def worker(rank: int, ranks: int, port: int, jobs: Path) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    exactly(pytest.MonkeyPatch())
    dist.init_process_group("gloo")
    for job in json.loads(jobs.read_text()):
        out = Path(job["out"])
        try:
            train(Path(job["spec"]), out, job["steps"])
            if rank == 0 and COMPILED:
                out.with_suffix(".compiled").write_text(" ".join(COMPILED))
            COMPILED.clear()
        except WeftError as error:
            if rank == 0:
                out.with_suffix(".refused").write_text(" ".join(d.code for d in error.diagnostics))
        except Exception:
            traceback.print_exc()
            os._exit(1)  # the others wait for this one
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    count = int(sys.argv[1])
    processes.spawn(worker, args=(count, free_port(), Path(sys.argv[2])), nprocs=count)
