"""`weft generate`: let a trained model write."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import real, whole
from .command import Command
from .devices import add_device, chosen_device
from .terminal import Terminal

if TYPE_CHECKING:
    from ..runtime.engines import Engine
    from ..runtime.sampling import Sampling
    from ..runtime.tokenizer import Tokenizer

_ENGINES = ("torch", "torch-full", "onnx")
_TEMPERATURE = 0.8


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run, or of an ONNX export")
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", default="", help="the text to go on from, or to read (default: none)"
    )
    parser.add_argument(
        "--engine",
        choices=_ENGINES,
        help="torch: PyTorch with the derived cache (the default for a run); torch-full: PyTorch over all text for "
        "every token; onnx: ONNX Runtime with the derived cache, after `weft export` (the default for an export)",
    )
    parser.add_argument("--max-tokens", metavar="N", type=whole(1), help="tokens to write (default: 256, or what fits)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--greedy", action="store_true", help="always the most likely token")
    how.add_argument(
        "--temperature",
        metavar="T",
        type=real(0, 100),
        default=_TEMPERATURE,
        help=f"default: {_TEMPERATURE}; 0 is greedy",
    )
    parser.add_argument("--top-k", metavar="K", type=whole(1), help="choose among the K most likely tokens")
    parser.add_argument("--top-p", metavar="P", type=real(0, 1), help="choose among the likeliest that sum to P")
    parser.add_argument(
        "--seed", metavar="N", type=whole(0, 2**63 - 1), default=0, help="default: 0; same seed, same text"
    )
    parser.add_argument(
        "--json", action="store_true", help="print `{prompt, text, engine, tokens, seconds}` at the end"
    )
    add_device(parser)


def _run(arguments: Namespace, terminal: Terminal) -> int:
    from ..runtime.sampling import Sampling

    temperature = 0.0 if arguments.greedy else arguments.temperature
    sampling = Sampling(temperature, arguments.top_k, arguments.top_p, arguments.seed)
    name, engine, tokenizer, begin = _open(Path(arguments.run), arguments.engine, arguments.device)
    _write(name, engine, tokenizer, begin, arguments.prompt, sampling, arguments.max_tokens, arguments.json, terminal)
    return 0


def write_on(folder: Path, prompt: str, engine: str, maximum: int, terminal: Terminal) -> None:
    """What `weft train --prompt` shows: the prompt and what the model makes of it."""
    from ..runtime.sampling import Sampling

    opened = _open(folder, engine, "auto")
    _write(*opened, prompt, Sampling(_TEMPERATURE), maximum, False, terminal)


def _open(folder: Path, engine: str | None, device: str) -> tuple[str, Engine, Tokenizer, tuple[int, ...]]:
    """The engine that is asked for, or the natural one: an export folder runs in ONNX Runtime, a run in PyTorch.

    The tokens are those that a decoder starts with after an encoder's source.
    """
    from ..compiler.emit.onnx.manifest import MANIFEST
    from ..lang import errors
    from ..lang.diagnostics import WeftError
    from ..runtime.engines import OnnxCached
    from ..runtime.tokenizer import Tokenizer
    from .runs import Trained, open_session

    if (folder / MANIFEST).is_file():
        if engine not in (None, "onnx"):
            raise WeftError(errors.no_run(str(folder), "run.json"))
        session = open_session(folder, device)
        if session.tokenizer is None:
            raise WeftError(errors.not_an_export(str(folder), "it has no tokenizer to read a prompt with"))
        begin = tuple(session.manifest["metadata"].get("begin", ()))
        return "onnx", OnnxCached(session), Tokenizer.load(session.tokenizer), begin
    trained = Trained.open(folder)
    name = engine or "torch"
    if name == "onnx":
        return name, OnnxCached(open_session(trained.exported, device)), trained.tokenizer, trained.begin
    return name, trained.torch_engine(name == "torch", chosen_device(device)), trained.tokenizer, trained.begin


def _write(
    name: str,
    engine: Engine,
    tokenizer: Tokenizer,
    begin: tuple[int, ...],
    prompt: str,
    sampling: Sampling,
    maximum: int | None,
    as_json: bool,
    terminal: Terminal,
) -> None:
    from ..runtime.generate import generate_text

    began = time.monotonic()
    pieces = []
    if not as_json and not engine.reads_source:  # what an encoder reads is not the beginning of what is written
        terminal.write(prompt)
    for piece in generate_text(engine, tokenizer, prompt, sampling, maximum=maximum, begin=begin):
        pieces.append(piece)
        if not as_json:
            terminal.write(piece)
    seconds = time.monotonic() - began
    text = "".join(pieces)
    tokens = len(tokenizer.encode(text))
    if as_json:
        terminal.json({"prompt": prompt, "text": text, "engine": name, "tokens": tokens, "seconds": round(seconds, 3)})
        return
    terminal.write("\n")
    if terminal.err.is_terminal:
        terminal.say(f"{tokens:,} tokens in {seconds:.1f} s, {name}")


COMMAND = Command(
    "generate",
    "let a trained model write on from a prompt; the text appears as it is chosen",
    """\
examples:
  weft generate runs/first "def "
  weft generate runs/first "def " --greedy --engine onnx
  weft generate runs/first/onnx "class " --temperature 0.9 --top-p 0.95 --seed 7

prints the prompt and the text after it; a model with an encoder reads the prompt, and only what it writes is printed.
All engines choose the same tokens from the same prompt and seed: the cached ones only do not read the text anew for
every token.
exit codes: 0 fine, 1 the run or the export is not usable, 2 the command was called wrongly, 130 interrupted""",
    _arguments,
    _run,
)
