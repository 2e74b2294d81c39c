"""`weft new`: a starter spec that checks, trains and exports as it is."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..lang import errors
from ..lang.diagnostics import WeftError
from ..lang.words import ITEMS, RESERVED, refusal
from .command import Command
from .specs import write_file
from .terminal import Terminal

_BROUGHT_IN = ("Attention", "Embedding", "GatedMLP", "Linear", "RMSNorm", "RoPE")

_STARTER = """\
## NAME: a small language model to start from.
##
##   weft check FILE                               is it right, and what is in it?
##   weft show FILE --html STEM.html               a picture to click through
##   weft train FILE --out runs/STEM --export      train it (a few minutes), draw the loss curve, export to ONNX
##   weft generate runs/STEM "def "                let it write
use nn: Embedding, GatedMLP, Linear, RMSNorm
use attention: Attention
use position: RoPE

# A model has sizes (`dim`) and other parameters. Axes are named after sizes: `[B, T, D]` has the rows of the batch (B),
# the tokens of a row (T) and D features. Names decide what meets what; there is nothing to reshape or to transpose.
model NAME(V: dim = 2048, D: dim = 128, F: dim = 384, H: dim = 4, G: dim = 2, layers: int = 4) {
  stream T as S  # tokens come one after another; S is what came before

  embed  = Embedding(V, D)
  blocks = repeat layers {
    attn_norm = RMSNorm(D)
    attn      = Attention(D, H, G, pos = RoPE(D / H))  # H heads share G keys; try `mask = window(width = 64)`
    mlp_norm  = RMSNorm(D)
    mlp       = GatedMLP(D, F)
    forward(x) {
      h = x + attn(attn_norm(x))
      h + mlp(mlp_norm(h))
    }
  }
  norm = RMSNorm(D)
  head = Linear(D, V)

  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> blocks |> norm |> head }
}

# How it is trained: on the source text of Python's own standard library. Put your files in its place with
# `text("corpus/**/*.txt", validation = 0.02)`; the path is relative to this file.
recipe TrainNAME for NAME {
  tokenizer bpe(vocab = 2048)
  precision {
    compute = f32  # `bf16` where the hardware has it: a GPU, a recent server CPU
    params  = f32
  }
  stage pretrain {
    data   = text("python:stdlib", validation = 0.02) |> pack(128)
    loss   = next_token()
    optim  = adamw(lr = cosine(peak = 3e-3, warmup = 20 steps, floor = 3e-4), betas = (0.9, 0.95), decay = 0.1)
    clip   = 1.0
    batch  = 2048 tokens
    budget = 400_000 tokens
  }
  export onnx { context = 256 tokens }
}
"""


def starter(name: str) -> str:
    """The text of a starter whose model is called `name`, with a capital.

    Raises WeftError when that cannot be a name.
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise WeftError(errors.bad_spec_name(name, "it has to be a name of letters, digits and `_`"))
    model = name[0].upper() + name[1:]
    reason = refusal(model) or refusal(name)
    if name in RESERVED or name in ITEMS:
        reason = "a word of the language"
    elif model in _BROUGHT_IN:
        reason = "the starter uses a block of that name"
    if reason:
        raise WeftError(errors.bad_spec_name(name, reason))
    return _STARTER.replace("NAME", model).replace("FILE", f"{name}.llm").replace("STEM", name)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="writes NAME.llm; may begin with a folder")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    path = Path(arguments.name.removesuffix(".llm") + ".llm")
    text = starter(path.stem)
    if path.exists():
        raise WeftError(errors.would_overwrite(str(path)))
    write_file(path, text)
    terminal.write(
        f"wrote {path}\n\n"
        f"  weft check {path}\n"
        f"  weft show {path} --html {path.stem}.html\n"
        f"  weft train {path} --out runs/{path.stem} --export --prompt 'def '\n"
    )
    return 0


COMMAND = Command(
    "new",
    "write a starter spec with comments: a small model and a recipe that trains it in a few minutes",
    """\
examples:
  weft new tiny             writes tiny.llm with the model Tiny
  weft new specs/tiny

prints what to do next. A file that exists is never replaced.
exit codes: 0 written, 1 the name cannot be used or the file exists, 2 the command was called wrongly""",
    _arguments,
    _run,
)
