"""What Weft emits for the library's models, with the loss that it emits: a file that needs PyTorch alone.

It is written in a process of its own, so that the one that trains does not hold a compiler.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch

from ..shapes import Shape

VERSION = "here"
WRITE = """
import sys, weft
from weft.compiler.emit.torch import to_torch
from weft.lang.program import load_source
from weft.lang.source import Source
print(to_torch(weft.compile(load_source(Source("bench.llm", sys.argv[1])), "Bench")))
"""


def build(shape: Shape, length: int):  # type: ignore[no-untyped-def]
    sizes = f"V = {shape.vocabulary}\n D = {shape.width}\n H = {shape.heads}\n layers = {shape.layers}\n"
    if shape.kind == "llama":
        sizes += f" F = {shape.inner}\n G = {shape.groups}\n theta = 10_000.0\n"
        text = f"use models.llama: Llama3\nmodel Bench = Llama3 with {{\n {sizes}}}\n"
    else:
        text = f"use models.gpt2: GPT2\nmodel Bench = GPT2 with {{\n {sizes} N = {length}\n}}\n"
    source = subprocess.run([sys.executable, "-c", WRITE, text], capture_output=True, text=True, check=True).stdout
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)  # a compiler reads the file later, and imports it by its name
    (Path(folder.name) / "weft_bench.py").write_text(source)
    sys.path.append(folder.name)
    network = import_module("weft_bench").Bench()
    network.initialise(0)

    def loss(call, tokens, labels):  # type: ignore[no-untyped-def]
        return call(tokens, labels, torch.ones(labels.shape, device=labels.device))[0]

    return network, loss
