"""`expect fused NAME` in a recipe: an export goes through when it happened, and stops before anything when not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from weft import cli

SPEC = """
use nn: Embedding, GatedMLP, RMSNorm, softplus

rule stable(x: [..]) {
  from log(1 + exp(x))
  into softplus(x)
}

model Tiny(V: dim = 300, D: dim = 32) {
  stream T as S
  embed = Embedding(V, D)
  blocks = repeat 2 {
    norm = RMSNorm(D)
    mlp  = GatedMLP(D, 48)
    forward(x) {
      h = x + log(1 + exp(shift(x, T, by = 1)))
      h + mlp(norm(h))
    }
  }
  last = RMSNorm(D)
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> blocks |> last |> embed.logits }
}

recipe Train for Tiny {
  tokenizer bpe(vocab = 300)
  stage pretrain {
    data   = text("corpus/*.txt") |> pack(32)
    loss   = next_token()
    optim  = adamw(lr = cosine(peak = 3e-4, warmup = 1 steps))
    batch  = 64 tokens
    budget = 2 steps
  }
  export onnx { target = cpu }
  expect fused NAME
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for i in range(6):
        words = ("the weft goes over and under the warp", "row after row", "and back again", f"thread {i}")
        (tmp_path / "corpus" / f"{i}.txt").write_text(" ".join(words[j % 4 - i % 2] for j in range(200)))
    return tmp_path


def train(folder: Path, expected: str) -> int:
    spec = folder / "tiny.llm"
    spec.write_text(SPEC.replace("NAME", expected).lstrip())
    return cli.main(["train", str(spec), "--out", str(folder / "run"), "--export"])


def test_an_export_whose_expectation_holds_is_written_with_the_rules_of_its_spec(folder: Path) -> None:
    assert train(folder, "stable") == 0
    manifest = json.loads((folder / "run" / "onnx" / "weft.json").read_text())
    assert manifest["target"] == "cpu" and "weft.rules.add_rms_norm" in manifest["kernels"]
    assert cli.main(["export", str(folder / "run"), "--to", "onnx", "--out", str(folder / "again")]) == 0


def test_an_expectation_that_does_not_hold_stops_before_anything_is_trained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder, "gelu_of_bias") == 1
    shown = capsys.readouterr().err
    assert "error[E0808]: `gelu_of_bias` was expected to be fused and is not" in shown
    assert "there is no call of `weft.nn.gelu`" in shown
    assert not (folder / "run" / "pretrain").exists()


def test_an_expectation_of_nothing_is_a_mistake_of_the_recipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, "add_nrm") == 1
    shown = capsys.readouterr().err
    assert "E0724" in shown and "did you mean `add_norm`?" in shown
