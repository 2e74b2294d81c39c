"""`weft import`: a checkpoint of Hugging Face's transformers as a spec and a run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from math import prod
from pathlib import Path

from ..lang.program import read
from .command import Command
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the checkpoint: config.json and safetensors files")
    parser.add_argument("--out", metavar="RUN", required=True, help="the folder of the run; it must not hold anything")
    parser.add_argument("--name", metavar="NAME", default="Imported", help="what the model is called (default: Imported)")
    parser.add_argument("--map", metavar="FILE", help="a .llm file of your own with the checkpoint map")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    from ..runtime.hub.reading import import_checkpoint
    from ..runtime.run import Run

    if arguments.map is not None:
        read(Path(arguments.map))  # a file that cannot be read is said before anything else
    own = Path(arguments.map) if arguments.map else None
    run = Run(Path(arguments.out))
    imported = import_checkpoint(Path(arguments.folder), run, arguments.name, own)
    terminal.write(imported.spec)
    count = sum(prod(shape) for shape in imported.shapes.values())
    terminal.say(
        f"{imported.architecture}: {len(imported.plan.tensors):,} tensors, {count:,} parameters, now in {run.folder}"
    )
    return 0


COMMAND = Command(
    "import",
    "turn a checkpoint of Hugging Face's transformers into a spec and a run",
    """\
examples:
  weft import ~/models/TinyLlama --out runs/tiny
  weft generate runs/tiny "Once upon a time"
  weft export runs/tiny --to onnx

The architecture is recognised by config.json; the standard library has maps for the families of the field, and
--map names a file with one of your own (a `checkpoint` item: see docs/language.md). Nothing is lost silently: keys
and tensors that the map does not know are an error. Prints the spec that it wrote; weights, tokenizer and chat
template come along. Pickles (.bin) are not read.
exit codes: 0 imported, 1 the checkpoint is not covered (a diagnostic says why), 2 the command was called wrongly""",
    _arguments,
    _run,
)
