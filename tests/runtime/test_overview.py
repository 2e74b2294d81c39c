"""What is seen of runs: lists, pictures, reports, rehearsals, boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small
from weft.cli import main
from weft.compiler.check import check
from weft.lang.diagnostics import WeftError
from weft.lang.program import load
from weft.runtime.evaluation.stages import evaluation_of
from weft.runtime.progress import Silent
from weft.runtime.run import Run
from weft.runtime.training.boards import numbers, open_boards
from weft.runtime.training.history import Row
from weft.runtime.training.overview import runs_below
from weft.runtime.training.rehearsal import rehearse
from weft.runtime.training.stages import train_recipe
from weft.runtime.training.train import Options

SPEC = """
use models.llama: Llama3
model Tiny = Llama3 with {
  V = 330
  D = 16
  F = 32
  H = 2
  G = 1
  layers = 2
}
recipe Try for Tiny {
  tokenizer bpe(vocab = 320)
  stage read {
    data   = text("*.txt", validation = 0.1) |> pack(32)
    loss   = next_token()
    optim  = adamw(lr = cosine(peak = 1e-2, warmup = 2 steps))
    batch  = 256 tokens
    budget = 8 steps
  }
  stage more from read {
    adapt lora(rank = 2, alpha = 4) on all Linear
    data   = text("*.txt", validation = 0.1) |> pack(32)
    loss   = next_token()
    budget = 1 epochs
  }
  evaluate {
    texts = perplexity("0.txt")
    asked = questions("asked.jsonl", tokens = 5)
  }
}
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    small.write_texts(folder, 3)
    (folder / "asked.jsonl").write_text('{"prompt": "the loom", "answer": "holds"}\n')
    (folder / "try.llm").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    checked = check(load(texts / "try.llm"))
    found = Run(tmp_path_factory.mktemp("runs") / "first")
    train_recipe(checked.program, checked.modules["Tiny"], checked.recipes["Try"], texts, found)
    return found


def test_every_stage_is_evaluated_by_what_the_recipe_says(run: Run) -> None:
    for stage in ("read", "more"):
        found = json.loads((run.stage(stage) / "evaluation.json").read_text())
        assert found["texts"]["perplexity"] > 1 and found["asked"]["records"] == 1
        (answer,) = map(json.loads, (run.stage(stage) / "answers.jsonl").read_text().splitlines())
        assert answer["prompt"] == "the loom" and answer["expected"] == ["holds"]


def test_a_report_shows_stages_curves_numbers_and_answers(run: Run) -> None:
    text = (run.folder / "report.md").read_text()
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    for part in ("# Tiny", "| read | 8 |", "| texts | perplexity |", "![loss](more/loss.png)", "> the loom"):
        assert part in text, part


def test_runs_are_listed_with_how_far_they_came(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (seen,) = runs_below(run.folder.parent)
    assert [s.name for s in seen.stages] == ["read", "more"] and all(s.finished for s in seen.stages)
    assert seen.parameters == run.read_module("read").parameter_count()
    picture = run.folder.parent / "both.png"
    assert main(["runs", str(run.folder.parent), "--plot", str(picture), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.partition("\ncurves:")[0])
    assert shown[0]["model"] == "Tiny" and shown[0]["stages"][0]["row"]["step"] == 8
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["runs", str(run.folder / "read")]) == 1
    assert "E0935" in capsys.readouterr().err


def test_an_evaluation_of_the_command_line_reads_like_one_of_a_recipe(
    run: Run, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = f'perplexity("{texts}/0.txt")'
    assert main(["eval", str(run.folder), task, "--stage", "read", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[task]
    kept = json.loads((run.stage("read") / "evaluation.json").read_text())["texts"]
    assert found["perplexity"] == pytest.approx(kept["perplexity"])
    assert main(["eval", str(run.folder)]) == 0
    assert "more: texts" in capsys.readouterr().out
    assert main(["eval", str(run.folder), "perplexity(5)"]) == 1
    assert "error[E07" in capsys.readouterr().err


def test_an_evaluation_that_is_added_later_is_done_for_finished_stages(texts: Path, tmp_path: Path) -> None:
    """And only then: a recipe that asks for nothing else evaluates nothing."""

    def evaluated(spec: str) -> list[str]:
        said: list[str] = []

        class Told(Silent):
            def say(self, text: str) -> None:
                said.append(text)

        (texts / "later.llm").write_text(spec)
        checked = check(load(texts / "later.llm"))
        train_recipe(
            checked.program, checked.modules["Tiny"], checked.recipes["Try"], texts, Run(tmp_path / "run"),
            only="read", reporter=Told(),
        )  # fmt: skip
        return [message.split(": ")[1] for message in said if "perplexity" in message or "exact match" in message]

    fewer = SPEC.replace("    texts = perplexity(\"0.txt\")\n", "")
    assert evaluated(fewer) == ["asked"]
    assert evaluated(SPEC) == ["texts", "asked"]
    assert evaluated(SPEC) == []
    assert set(evaluation_of(tmp_path / "run" / "read")) == {"texts", "asked"}


def test_a_rehearsal_takes_one_step_of_every_stage_and_leaves_nothing(texts: Path) -> None:
    checked = check(load(texts / "try.llm"))
    before = sorted(texts.iterdir())
    module, results = rehearse(checked.program, "Tiny", checked.recipes["Try"], texts, Options(), Silent())
    assert {name: result.steps for name, result in results.items()} == {"read": 1, "more": 1}
    assert module.parameter_count() < 100_000 and sorted(texts.iterdir()) == before


def test_a_rehearsal_finds_what_would_stop_a_later_stage(texts: Path) -> None:
    wrong = texts / "wrong.llm"
    wrong.write_text(
        SPEC.replace(
            '"*.txt", validation = 0.1) |> pack(32)\n    loss   = next_token()\n    budget = 1',
            '"no/*.txt", validation = 0.1) |> pack(32)\n    loss   = next_token()\n    budget = 1',
        )
    )
    checked = check(load(wrong))
    with pytest.raises(WeftError) as caught:
        rehearse(checked.program, "Tiny", checked.recipes["Try"], texts, Options(), Silent())
    assert caught.value.diagnostics[0].code == "E0941"


def test_boards_get_what_the_history_has() -> None:
    row = Row(3, 300, 2.5, None, 1e-3, 0.7, 1.0)
    assert numbers(row) == {"loss": 2.5, "rate": 1e-3, "gradient norm": 0.7, "tokens": 300.0}
    with pytest.raises(WeftError) as caught:
        open_boards(["wandb"], Path("."), "read")
    assert caught.value.diagnostics[0].code == "E0957"
