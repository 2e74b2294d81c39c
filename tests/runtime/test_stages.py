"""Stages one after another: texts, chats with adapters, preferences, rewards; each goes on from the one before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import small
import torch
from weft.compiler.check import check
from weft.compiler.compile import compile
from weft.lang.program import load
from weft.runtime.run import Run
from weft.runtime.training.history import read_history
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

recipe Life for Tiny {
  tokenizer bpe(vocab = 320)
  stage read {
    data   = text("*.txt", validation = 0.1) |> pack(32)
    loss   = next_token()
    optim  = adamw(lr = 1e-2)
    batch  = 256 tokens
    budget = 12 steps
  }
STAGES
}
"""
TUNE = """  stage tune from read {
    ADAPT
    data   = chat("chats.jsonl", template = chatml, validation = 0.2)
    loss   = next_token(on = assistant)
    batch  = 4 sequences
    budget = 6 steps
    save   = 2 steps
  }
"""
WISH = """  stage wish from tune {
    adapt lora(rank = 2, alpha = 4) on blocks.attn
    data   = pairs("pairs.jsonl", template = chatml, validation = 0.2)
    loss   = dpo(beta = 0.1, reference = tune)
    batch  = 4 examples
    budget = 5 steps
  }
"""
REWARD = """  stage reward from read {
    data   = pairs("pairs.jsonl", template = chatml, validation = 0.2)
    loss   = reward()
    batch  = 4 examples
    budget = 5 steps
  }
"""
LORA = "adapt lora(rank = 4, alpha = 8) on all Linear"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, chats about them, and pairs of answers."""
    folder = tmp_path_factory.mktemp("data")
    small.write_texts(folder)
    words = ["the", "loom", "holds", "a", "warp", "and", "weft", "over", "under", "runs", "it"]
    asked = [(f"say {a} and {b}", f"{a} {b}", f"{b} {a}") for a in words for b in words if a != b][:40]
    chats = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a, _ in asked]
    pairs = [{"prompt": q, "chosen": a, "rejected": b} for q, a, b in asked]
    for name, records in (("chats", chats), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    return folder


def train(folder: Path, texts: Path, *stages: str, stop: int | None = None, only: str | None = None) -> Run:
    spec = texts / f"{folder.name}.llm"
    spec.write_text(SPEC.replace("STAGES", "".join(stages)))
    checked = check(load(spec))
    assert not checked.failed, checked.diagnostics
    recipe, program = checked.recipes["Life"], checked.program
    options = Options(stop=stop)
    train_recipe(program, compile(program, "Tiny"), recipe, texts, Run(folder), only=only, options=options)
    return Run(folder)


def weights(run: Run, stage: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.weights(stage))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "life", texts, TUNE.replace("ADAPT", LORA), WISH, REWARD)


def logits(run: Run, stage: str, folder: Path | None = None) -> torch.Tensor:
    """Scores of a few tokens by the weights that a stage ended with."""
    from weft.compiler.emit.torch import to_torch
    from weft.runtime.model import build, load_weights

    module = run.read_module(stage)
    model = build(to_torch(module), module.name, run.folder / "probe.py")
    load_weights(model, run.weights(stage))
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(3, 40)[None])
    return found


def test_every_stage_learns_from_where_the_one_before_ended(life: Run) -> None:
    for stage in ("read", "tune", "wish", "reward"):
        rows = read_history(life.stage(stage) / "loss.csv")
        seen = [row.validation for row in rows if row.validation is not None]
        assert seen[-1] < seen[0], stage
    assert read_history(life.stage("wish") / "loss.csv")[0].loss == pytest.approx(np.log(2), rel=1e-6)


def test_a_compiled_stage_compiles_its_loss_and_learns_the_same(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    compiler = torch.compile

    def watched(function: Callable[..., torch.Tensor], **settings: bool) -> Callable[..., torch.Tensor]:
        found.append(function.__name__)
        return compiler(function, backend="eager", **settings)

    plain = weights(train(tmp_path / "plain", texts), "read")
    monkeypatch.setattr(torch, "compile", watched)
    monkeypatch.setitem(globals(), "SPEC", SPEC.replace("    loss   =", "    compile = true\n    loss   ="))
    compiled = weights(train(tmp_path / "compiled", texts), "read")
    assert found == ["loss"]
    assert all(torch.allclose(compiled[name], plain[name], atol=1e-6) for name in plain)


def test_adapters_are_merged_and_kept_beside(life: Run) -> None:
    assert set(weights(life, "tune")) == set(weights(life, "read"))
    adapter = Run(life.stage("tune") / "adapter")
    assert any(path.endswith("delta.a") for path in weights(adapter, "import"))
    torch.testing.assert_close(logits(adapter, "import"), logits(life, "tune"), rtol=1e-4, atol=1e-4)
    before, after = weights(life, "read"), weights(life, "tune")
    assert torch.equal(before["embed.table"], after["embed.table"]), "what was not adapted stays as it was"
    assert not torch.equal(before["blocks.0.attn.q.weight"], after["blocks.0.attn.q.weight"])


def test_a_reward_has_a_head_of_its_own(life: Run) -> None:
    found = weights(life, "reward")
    assert found["score_weight"].shape == (16, 1) and "head.weight" not in found
    assert logits(life, "reward").shape == (1, 37, 1)
    assert life.finished_stage() == "reward" and life.read_module("wish").parameter_count() > 0


@pytest.mark.parametrize(
    "adapt",
    [
        LORA,
        "adapt dora(rank = 2, alpha = 4) on blocks.attn",
        "adapt ia3() on blocks.mlp",
        "adapt bottleneck(width = 4) on blocks.mlp",
        "adapt prompt(count = 3) on embed",
        "adapt prefix(count = 3) on blocks.attn",
        "adapt freeze() on embed, head",
        "adapt train() on blocks.mlp, norm",
        "adapt lora(rank = 2, alpha = 4) on blocks.attn\n    adapt train() on head",
        "quantize int4(group = 16) on all Linear",
        f"{LORA}\n    quantize nf4(group = 16) on blocks",
    ],
)
def test_any_way_to_adapt_trains_goes_on_bit_for_bit_and_is_the_start_of_a_next_stage(
    adapt: str, texts: Path, life: Run, tmp_path: Path
) -> None:
    """The run that never stopped, and one that was stopped after 1, 2 and 5 steps."""
    stage = TUNE.replace("ADAPT", adapt)
    runs = []
    for name, stops in (("whole", (None,)), ("parts", (1, 2, 5, None))):
        folder = tmp_path / name
        copied(life, folder)
        for stop in stops:
            run = train(folder, texts, stage, stop=stop, only="tune")
        runs.append(run)
    one, other = (weights(run, "tune") for run in runs)
    assert one.keys() == other.keys() and all(torch.equal(one[path], other[path]) for path in one)
    rows = [[(r.step, r.loss, r.validation) for r in read_history(run.stage("tune") / "loss.csv")] for run in runs]
    assert rows[0] == rows[1] and len(rows[0]) == 6
    held = {
        path for path in one if path in weights(life, "read") and torch.equal(one[path], weights(life, "read")[path])
    }
    assert held or "quantize" in adapt or "all Linear" in adapt


def copied(run: Run, folder: Path) -> None:
    """A run with nothing but the first stage of another."""
    import shutil

    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("tune", "wish", "reward", "probe.py"))


def test_stages_go_on_from_adapters_that_cannot_be_merged(texts: Path, life: Run, tmp_path: Path) -> None:
    copied(life, tmp_path / "run")
    stage = TUNE.replace("ADAPT", "adapt bottleneck(width = 4) on blocks.mlp")
    again = TUNE.replace("ADAPT", "adapt freeze() on embed").replace("tune from read", "again from tune")
    run = train(tmp_path / "run", texts, stage, again)
    assert run.own_spec("tune").is_file() and len(weights(run, "tune")) > len(weights(run, "read"))
    assert set(weights(run, "again")) == set(weights(run, "tune"))
    first = read_history(run.stage("again") / "loss.csv")[0].loss
    assert first < read_history(run.stage("tune") / "loss.csv")[0].loss


def test_what_is_learned_rounded_is_what_is_exported(texts: Path, life: Run, tmp_path: Path) -> None:
    from weft.compiler.quantization.codes import dequantized
    from weft.compiler.quantization.nearest import quantize
    from weft.compiler.quantization.scheme import Grouped

    copied(life, tmp_path / "run")
    run = train(tmp_path / "run", texts, TUNE.replace("ADAPT", "quantize int4(group = 16) on all Linear"))
    weight = weights(run, "tune")["blocks.0.mlp.up.weight"].numpy()
    np.testing.assert_array_equal(dequantized(quantize(weight, Grouped(4, 16))), weight)
