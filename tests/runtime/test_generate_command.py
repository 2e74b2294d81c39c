"""`weft generate` as a person meets it: batches, searches, drafts, stop strings and what is told about tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import weft
from weft.cli import main

SPEC = """
use models.llama: Llama3

model Tiny = Llama3 with {
  V = 290
  D = 16
  F = 24
  H = 2
  G = 1
  layers = 2
}

recipe Train for Tiny {
  tokenizer bpe(vocab = 290)
  stage pretrain {
    data   = text("*.txt", validation = 0.1) |> pack(16)
    loss   = next_token()
    optim  = adamw(lr = cosine(peak = 3e-2, warmup = 1 steps))
    batch  = 64 tokens
    budget = 10 steps
  }
  export onnx { context = 64 tokens }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with its export."""
    folder = tmp_path_factory.mktemp("generate")
    (folder / "tiny.llm").write_text(SPEC)
    for i in range(8):
        (folder / f"{i}.txt").write_text("the cats sat on the mats and the bats ate the rats. " * 12)
    assert main(["train", str(folder / "tiny.llm"), "--out", str(folder / "run"), "--export"]) == 0
    return folder / "run"


def wrote(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["generate", str(run), *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def said(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["generate", str(run), *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_batch_writes_what_each_prompt_writes_alone(
    run: Path, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["the cats", "a", "and the bats ate"]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n")
    words = ("--engine", engine, "--seed", "3", "--min-p", "0.02", "--max-tokens", "9")
    found = wrote(run, capsys, "--batch", str(tmp_path / "prompts.txt"), *words)
    assert [text["prompt"] for text in found["texts"]] == prompts
    alone = [wrote(run, capsys, prompt, *words) for prompt in prompts]
    assert [text["text"] for text in found["texts"]] == [text["text"] for text in alone]
    assert found["tokens"] == sum(len(text["ids"]) for text in alone) and found["speed"] > 0
    shown = said(run, capsys, "--batch", str(tmp_path / "prompts.txt"), *words)
    assert shown == "".join(f"{text['prompt']}{text['text']}\n" for text in alone)


def test_streamed_or_not_the_text_is_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("the cats", "--greedy", "--max-tokens", "12")
    assert said(run, capsys, *words) == said(run, capsys, *words, "--no-stream")
    assert said(run, capsys, *words) == "the cats" + wrote(run, capsys, *words)["text"] + "\n"


def test_a_text_ends_before_a_stop_string(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = wrote(run, capsys, "the", "--greedy", "--max-tokens", "20")
    stop = whole["text"][4:7]
    for engine in ("torch", "onnx"):
        found = wrote(run, capsys, "the", "--greedy", "--stop", "zzz", "--stop", stop, "--engine", engine)
        assert found["text"] == whole["text"][: whole["text"].find(stop)] and found["finish"] == "stop"


def test_beams_find_a_likelier_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [wrote(run, capsys, "the", "--beams", "4", "--max-tokens", "8", "--engine", e) for e in ("torch", "onnx")]
    assert found[0]["text"] == found[1]["text"]
    greedy = wrote(run, capsys, "the", "--greedy", "--max-tokens", "8", "--logprobs", "0")
    assert found[0]["score"] * 8 >= sum(token["logprob"] for token in greedy["logprobs"]) - 1e-6


def test_drafts_change_no_greedy_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("the cats sat on the cats", "--greedy", "--max-tokens", "20")
    plain = wrote(run, capsys, *words)
    for more in (("--ngram", "2"), ("--draft", str(run)), ("--draft", str(run / "onnx"), "--engine", "onnx")):
        found = wrote(run, capsys, *words, *more, "--ahead", "3")
        assert found["ids"] == plain["ids"] and found["draft"]["accepted"] <= found["draft"]["proposed"]


def test_the_likeliest_tokens_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = wrote(run, capsys, "the", "--greedy", "--max-tokens", "3", "--logprobs", "2")
    assert [token["id"] for token in found["logprobs"]] == found["ids"]
    assert all(len(token["likeliest"]) == 2 for token in found["logprobs"])
    table = said(run, capsys, "the", "--greedy", "--max-tokens", "3", "--logprobs", "2")
    assert "log-probability" in table and table.count("\n") >= 5


def test_the_example_of_the_page_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(weft.__file__).parent / "docs" / "generation.md"
    example = page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    exec(example.replace("runs/first", str(run)).replace("runs/small", str(run)), {})
    assert "Piece(row=0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("text", "--chat", "message"), 2),
        (("text", "--batch", "prompts.txt"), 2),
        (("--batch", "not-there.txt"), 1),
        (("--beams", "2", "--temperature", "0.7"), 1),
        (("--beams", "2", "--ngram", "3"), 1),
        (("--draft", "not-there"), 1),
        (("--min-p", "2"), 2),
        (("--stop", ""), 1),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    run: Path, words: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run), *words]) == code
    assert "Traceback" not in capsys.readouterr().err
