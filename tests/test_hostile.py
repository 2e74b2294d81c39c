"""Broken and hostile specs: whatever the text, checking ends soon and answers with diagnostics."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from weft.compiler.check import check
from weft.lang.program import STDLIB, load_source
from weft.lang.source import Source

ROOT = Path(__file__).resolve().parent.parent
SPECS = [
    *(ROOT / "examples").glob("*.llm"),
    STDLIB / "moe.llm",
    STDLIB / "rules.llm",
    STDLIB / "models" / "codegen.llm",
    STDLIB / "models" / "distilbert.llm",
    STDLIB / "models" / "flex_olmo.llm",
]
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\d_.e]*|\|>|->|\.\.|[^\s\w]|\n")
WORDS = (
    "D",
    "T",
    "S",
    "x",
    "forward",
    "repeat",
    "as",
    "{",
    "}",
    "(",
    ")",
    "->",
    "|>",
    "..",
    "1",
    "0",
    "-1",
    "1e400",
    "=",
    ",",
    "with",
    "if",
    "else",
    "scan",
    "yield",
    "next",
    "dim",
    "block",
    "model",
    "10_000_000_000",
    "stack",
    "of",
    "where",
    "class",
    "import",
    "__init__",
    "ｘ",
    "Ａ",
    "\u202e",
    "lambda",
    '"',
    "#",
    "stream",
    "param",
    "true",
    "Linear",
    "Attention",
)
SECONDS = 5.0  # a single check; far above what any of them needs


def mutate(text: str, random: random.Random) -> str:
    tokens = re.findall(r"\s+|" + TOKEN.pattern, text)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(tokens))
        kind = random.randrange(6)
        if kind == 0:
            del tokens[at]
        elif kind == 1:
            tokens.insert(at, random.choice(tokens))
        elif kind == 2:
            other = random.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif kind == 3:
            tokens[at] = random.choice(WORDS)
        elif kind == 4:
            tokens.insert(at, f" {random.choice(WORDS)} ")
        else:
            end = min(len(tokens), at + random.randint(1, 12))
            del tokens[at:end]
        if not tokens:
            return ""
    return "".join(tokens)


@pytest.mark.parametrize("part", range(4))
def test_mutated_specs_give_diagnostics_and_nothing_else(part: int) -> None:
    draws = random.Random(part)
    sources = [path.read_text() for path in sorted(SPECS)]
    for i in range(200):
        text = mutate(draws.choice(sources), draws)
        started = time.monotonic()
        found = check(load_source(Source("mutated.llm", text))).diagnostics
        assert time.monotonic() - started < SECONDS, f"specs {part}/{i} took too long:\n{text}"
        assert all(d.code for d in found)


@pytest.mark.parametrize(
    "text",
    [
        "use models.llama: Llama3\nmodel M = Llama3 with {{ layers = {0} }}\n",
        "use models.llama: Llama3\nmodel M = Llama3 with {{ V = {0} }}\n",
        "use models.llama: Llama3\nmodel M = Llama3 with {{ D = {0}\n F = {0} }}\n",
    ],
)
@pytest.mark.parametrize("size", [10**12, 2**60, 10**30])
def test_absurd_sizes_are_refused_before_memory_is_touched(text: str, size: int) -> None:
    started = time.monotonic()
    found = check(load_source(Source("absurd.llm", text.format(size)))).diagnostics
    assert {d.code for d in found} in ({"E0403"}, {"E0103"})  # beyond the limits, or no number at all
    assert time.monotonic() - started < SECONDS


def test_a_billion_layers_are_refused() -> None:
    found = check(
        load_source(Source("deep.llm", "use models.llama: Llama3\nmodel M = Llama3 with { layers = 1_000_000_000 }\n"))
    )
    assert [d.code for d in found.diagnostics] == ["E0403"]
