"""`weft merge`: adapters written into the weights below them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run whose model has adapters beside its weights")
    parser.add_argument("--out", metavar="NEW", required=True, help="the folder of the new run, holding nothing yet")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    from ..runtime.adapters.runs import merge_run
    from ..runtime.run import Run

    found = merge_run(Run(Path(arguments.run)), Run(Path(arguments.out)))
    terminal.write(f"{arguments.out}\n")
    terminal.say(f"the adapters of {found.module.name} are in the weights of {found.original.name} now")
    return 0


COMMAND = Command(
    "merge",
    "write the adapters of a run into its weights: a run of the model below them",
    """\
examples:
  weft import ~/adapters/poet --onto runs/tiny --out runs/poet
  weft merge runs/poet --out runs/merged
  weft export runs/merged --to hf

The new run has the model that the adapters stood beside, and computes what the adapted one did; the old run stays as
it is. Adapters that are not a change of weights (prompts, prefixes, bottlenecks) are refused.
prints the folder of the new run.
exit codes: 0 merged, 1 there is nothing to merge or it cannot be, 2 the command was called wrongly""",
    _arguments,
    _run,
)
