"""`weft generate`: let a trained model write."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import real, whole
from .command import Command, UsageError
from .devices import add_device, chosen_device
from .terminal import Terminal

if TYPE_CHECKING:
    from ..runtime.conventions import Conventions
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
        "--chat", metavar="MESSAGE", help="answer a message: the prompt is what the run's chat template makes of it"
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
    chat = arguments.chat is not None
    if chat and arguments.prompt:
        raise UsageError("a PROMPT is a text to go on from, --chat a message to answer: give one of them")
    opened = _open(Path(arguments.run), arguments.engine, arguments.device)
    text = arguments.chat if chat else arguments.prompt
    _write(opened, text, sampling, arguments.max_tokens, arguments.json, terminal, chat)
    return 0


def write_on(folder: Path, prompt: str, engine: str, maximum: int, terminal: Terminal) -> None:
    """What `weft train --prompt` shows: the prompt and what the model makes of it."""
    from ..runtime.sampling import Sampling

    opened = _open(folder, engine, "auto")
    _write(opened, prompt, Sampling(_TEMPERATURE), maximum, False, terminal)


@dataclass(frozen=True)
class _Opened:
    """What writes, and how its texts are read; `begin` starts what is written after an encoder's source."""

    name: str
    engine: Engine
    tokenizer: Tokenizer
    begin: tuple[int, ...]
    how: Conventions


def _open(folder: Path, engine: str | None, device: str) -> _Opened:
    """The engine that is asked for, or the natural one: an export folder runs in ONNX Runtime, a run in PyTorch."""
    from ..compiler.emit.onnx.manifest import MANIFEST
    from ..lang import errors
    from ..lang.diagnostics import WeftError
    from ..runtime.conventions import Conventions
    from ..runtime.engines import OnnxCached
    from ..runtime.tokenizer import Tokenizer
    from .runs import Trained, open_session

    if (folder / MANIFEST).is_file():
        if engine not in (None, "onnx"):
            raise WeftError(errors.no_run(str(folder), "run.json"))
        session = open_session(folder, device)
        if session.tokenizer is None:
            raise WeftError(errors.not_an_export(str(folder), "it has no tokenizer to read a prompt with"))
        metadata = session.manifest["metadata"]
        how = Conventions.from_json(metadata["text"]) if "text" in metadata else None
        begin = tuple(metadata.get("begin", ()))
        return _Opened("onnx", OnnxCached(session), Tokenizer.load(session.tokenizer, how), begin, how or Conventions())
    trained = Trained.open(folder)
    name = engine or "torch"
    runs: Engine
    if name == "onnx":
        runs = OnnxCached(open_session(trained.exported, device))
    else:
        runs = trained.torch_engine(name == "torch", chosen_device(device))
    return _Opened(name, runs, trained.tokenizer, trained.begin, trained.run.conventions or Conventions())


def _write(
    opened: _Opened, prompt: str, sampling: Sampling, maximum: int | None, as_json: bool, terminal: Terminal,
    chat: bool = False,
) -> None:
    from ..runtime.generate import generate_text

    engine, tokenizer = opened.engine, opened.tokenizer
    read = _as_chat(opened.how, prompt) if chat else prompt
    began = time.monotonic()
    pieces = []
    if not as_json and not chat and not engine.reads_source:  # what is answered to is no beginning of what is written
        terminal.write(prompt)
    for piece in generate_text(engine, tokenizer, read, sampling, maximum=maximum, begin=opened.begin, marked=chat):
        pieces.append(piece)
        if not as_json:
            terminal.write(piece)
    seconds = time.monotonic() - began
    text = "".join(pieces)
    tokens = len(tokenizer.encode(text))
    if as_json:
        found = {"prompt": read, "text": text, "engine": opened.name, "tokens": tokens, "seconds": round(seconds, 3)}
        terminal.json(found)
        return
    terminal.write("\n")
    if terminal.err.is_terminal:
        terminal.say(f"{tokens:,} tokens in {seconds:.1f} s, {opened.name}")


def _as_chat(how: Conventions, message: str) -> str:
    """The text of a chat in which somebody has said this, and the answer follows."""
    from ..lang import errors
    from ..lang.diagnostics import WeftError
    from ..runtime.chat import render

    if how.template is None:
        raise WeftError(errors.bad_chat_template("there is none", ("leave `--chat` away: give the text itself",)))
    return render(how.template, [{"role": "user", "content": message}], how.special)


COMMAND = Command(
    "generate",
    "let a trained model write on from a prompt; the text appears as it is chosen",
    """\
examples:
  weft generate runs/first "def "
  weft generate runs/first "def " --greedy --engine onnx
  weft generate runs/first/onnx "class " --temperature 0.9 --top-p 0.95 --seed 7
  weft generate runs/imported --chat "What is a weft?"

prints the prompt and the text after it; a model with an encoder reads the prompt, and only what it writes is printed.
A chat template is data that came with a checkpoint: it is rendered in a sandbox that reaches nothing but the message.
All engines choose the same tokens from the same prompt and seed: the cached ones only do not read the text anew for
every token.
exit codes: 0 fine, 1 the run or the export is not usable, 2 the command was called wrongly, 130 interrupted""",
    _arguments,
    _run,
)
