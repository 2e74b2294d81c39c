"""What a row reads from memory for one token, and what there is to hold: for the bound, and for the memory's limit."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

from weft.runtime.bench.traffic import traffic

from .shapes import Shape
from .variants import Place, Variant

NUMBERS = {"float32": 4, "bfloat16": 2}
# Bytes and numbers of a block, by the type of a tensor of GGUF.
BLOCKS = {0: (4, 1), 1: (2, 1), 2: (18, 32), 8: (34, 32)}


def cache(shape: Shape, variant: Variant, tokens: float) -> float:
    """Bytes of the keys and values of so many tokens."""
    numbers = 2 if variant.system == "llama.cpp" else NUMBERS[variant.dtype]
    return shape.cache * numbers * tokens


def read(place: Place, shape: Shape, variant: Variant) -> int:
    """Bytes of weights that one token reads, as they are stored: all of them, but of the embedding one row."""
    artifact = place.artifact(shape, variant)
    if variant.system == "transformers":
        tied = shape.config["tie_word_embeddings"]
        tables = ("wpe",) if tied else ("embed_tokens", "wpe")
        numbers = sum(prod(s) for n, s in shape.weights.items() if not any(t in n for t in tables))
        return numbers * NUMBERS[variant.dtype]
    if variant.system == "llama.cpp":
        tensors = gguf_tensors(artifact)
        tied = not any(n.startswith("output.") for n in tensors)
        tables = ("position_embd",) if tied else ("token_embd", "position_embd")
        return sum(size for name, size in tensors.items() if not name.startswith(tables))
    return traffic(artifact / "model.onnx").bytes


def held(place: Place, shape: Shape, variant: Variant, tokens: int) -> float:
    """Bytes of all weights as they are stored, and of the caches of so many tokens."""
    if variant.system == "transformers":
        stored = sum(prod(s) for s in shape.weights.values()) * NUMBERS[variant.dtype]
    elif variant.system == "llama.cpp":
        stored = sum(gguf_tensors(place.artifact(shape, variant)).values())
    else:
        folder = place.artifact(shape, variant)
        stored = sum(p.stat().st_size for p in folder.iterdir() if ".onnx" in p.name)
    return stored + cache(shape, variant, tokens)


def gguf_tensors(file: Path) -> dict[str, int]:
    """Bytes of each tensor of a GGUF file, version 3 (github.com/ggml-org/ggml, docs/gguf.md)."""
    with file.open("rb") as stream:
        def number(kind: str) -> int:
            return int(struct.unpack("<" + kind, stream.read(struct.calcsize(kind)))[0])

        def text() -> str:
            return stream.read(number("Q")).decode()

        def skip(kind: int) -> None:
            if kind == 8:
                text()
            elif kind == 9:
                inner, count = number("I"), number("Q")
                for _ in range(count):
                    skip(inner)
            else:
                stream.read({0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}[kind])

        assert stream.read(4) == b"GGUF" and number("I") == 3
        tensors, entries = number("Q"), number("Q")
        for _ in range(entries):
            text()
            skip(number("I"))
        found = {}
        for _ in range(tensors):
            name = text()
            numbers = prod(number("Q") for _ in range(number("I")))
            size, block = BLOCKS[number("I")]
            number("Q")
            found[name] = numbers // block * size
        return found


def results(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
