"""`weft import`: a checkpoint of Hugging Face's transformers as a spec and a run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from math import prod
from pathlib import Path

from ..lang.program import read
from .command import Command, UsageError
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the checkpoint: config.json and safetensors; or an adapter")
    parser.add_argument("--out", metavar="RUN", required=True, help="the folder of the run; it must not hold anything")
    parser.add_argument("--name", metavar="NAME", help="what the model is called (default: Imported, Adapted)")
    parser.add_argument("--map", metavar="FILE", help="a .llm file of your own with the checkpoint map")
    parser.add_argument("--onto", metavar="RUN", help="DIR is an adapter of PEFT: read it onto the model of this run")
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="a tokenizer.json to take instead of that in DIR; `none` for none at all"
    )


def _run(arguments: Namespace, terminal: Terminal) -> int:
    from ..runtime.hub.reading import import_checkpoint
    from ..runtime.run import Run

    if arguments.onto is not None:
        if arguments.map or arguments.tokenizer:
            raise UsageError("an adapter has the map and the tokenizer of the run that --onto names")
        return _import_adapter(arguments, terminal)
    if arguments.map is not None:
        read(Path(arguments.map))  # a file that cannot be read is said before anything else
    own = Path(arguments.map) if arguments.map else None
    run = Run(Path(arguments.out))
    imported = import_checkpoint(
        Path(arguments.folder), run, arguments.name or "Imported", own, _tokenizer(arguments.tokenizer)
    )
    terminal.write(imported.spec)
    count = sum(prod(shape) for shape in imported.shapes.values())
    terminal.say(
        f"{imported.architecture}: {len(imported.plan.tensors):,} tensors, {count:,} parameters, now in {run.folder}"
    )
    return 0


def _import_adapter(arguments: Namespace, terminal: Terminal) -> int:
    """An adapter of PEFT onto the model of a run, as a run of its own."""
    from ..runtime.adapters.runs import import_adapter
    from ..runtime.run import Run

    run = Run(Path(arguments.out))
    found = import_adapter(Path(arguments.folder), Run(Path(arguments.onto)), run, arguments.name or "Adapted")
    terminal.write(run.spec.read_text("utf-8"))
    terminal.say(f"{len(found.weights):,} weights beside those of {arguments.onto}, now in {run.folder}")
    return 0


def _tokenizer(asked: str | None) -> Callable[[Path], str | None]:
    """Where the tokenizer comes from: the checkpoint's folder, a file, or nowhere."""
    from ..runtime.hub.tokenizer_files import tokenizer_text

    if asked is None:
        return tokenizer_text
    if asked == "none":
        return lambda folder: None
    text = read(Path(asked)).text
    return lambda folder: text


COMMAND = Command(
    "import",
    "turn a checkpoint of Hugging Face's transformers into a spec and a run",
    """\
examples:
  weft import ~/models/TinyLlama --out runs/tiny
  weft generate runs/tiny "Once upon a time"
  weft export runs/tiny --to onnx
  weft import ~/adapters/poet --onto runs/tiny --out runs/poet

The architecture is recognised by config.json; the standard library has maps for the families of the field, and
--map names a file with one of your own (a `checkpoint` item: see docs/language.md). Nothing is lost silently: keys
and tensors that the map does not know are an error. Prints the spec that it wrote; weights, tokenizer and chat
template come along. Without a tokenizer.json one is made from tokenizer.model or spiece.model (this needs
`pip install 'weft[sentencepiece]'`), vocab.json with merges.txt, or vocab.txt. Pickles (.bin) are not read.
exit codes: 0 imported, 1 the checkpoint is not covered (a diagnostic says why), 2 the command was called wrongly""",
    _arguments,
    _run,
)
