"""The same recipe in one process and in several: the same losses, norms and weights, but for the order of sums.

All runs of one number of processes share their processes, which is where the time goes.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import small
import together
import torch.distributed.checkpoint

HISTORY = 2e-6
"""How far losses and norms may be apart, relative to what they are: some roundings of float32 (2^-24 = 6e-8)."""

WEIGHTS = 2e-5
"""The same for the weights, |w - v| / |w| of each parameter: Adam divides small gradients by small numbers, here by
`eps` at least."""

SPEC = """
USES

model Little = MODEL with {
  V = 300
  D = 16
  F = 32
  H = 4
SIZES
}

recipe Train for Little {
  tokenizer bpe(vocab = 300)
  precision { compute = f32 }
  stage first {
    data     = text("TEXTS/*.txt", validation = 0.1) |> pack(16)
    loss     = next_token()PENALTIES
    optim    = OPTIMIZER
    batch    = 128 tokens
    micro    = 2 sequences
    budget   = 4 steps
    save     = 2 steps
    validate = 2 steps
  }
SHARD
}
"""

MODELS = {
    "llama": ("use models.llama: Llama", "Llama", "  G = 2\n  layers = 2", ""),
    "gpt2": ("use models.gpt2: GPT2", "GPT2", "  N = 16\n  layers = 2", ""),
    "experts": (
        "use models.llama: Llama\nuse moe: MoE", "Llama", "  layers = 3\n  tied = true\n  blocks.mlp = MoE(D, F, 4, 2)",
        " + 0.01 * balance + 0.001 * router_z",
    ),
}
ADAMW = "adamw(lr = 1e-2, decay = 0.1, eps = 1e-4)"
OTHERS = {
    "muon": "muon(lr = 1e-2, eps = 1e-4)",
    "adafactor": "adafactor(lr = 1e-2, relative = true)",
    "compiled": f"{ADAMW}\n    compile  = true",
}
"""Lines of the recipe that take the place of ADAMW, for a Llama under these names."""
MODELS |= dict.fromkeys(OTHERS, MODELS["llama"])

TENSOR = "F = tensor\n    G = tensor"
RUNS = {
    2: {
        "fsdp": ("llama", "data = 2", "B = data"),
        "tensor": ("llama", "tensor = 2", TENSOR),
        "tensor with biases": ("gpt2", "tensor = 2", f"{TENSOR}\n    V = tensor"),
        "context": ("llama", "context = 2", "T = context"),
        "expert": ("experts", "expert = 2", "E = expert"),
        "pipeline": ("experts", "pipeline = 2", ""),
        "compiled": ("compiled", "data = 2", "B = data"),
    },
    4: {
        "fsdp and tensor": ("llama", "data = 2, tensor = 2", f"B = data\n    {TENSOR}"),
        "fsdp and pipeline": ("experts", "data = 2, pipeline = 2", "B = data"),
        "muon": ("muon", "data = 2, tensor = 2", f"B = data\n    {TENSOR}"),
        "adafactor": ("adafactor", "data = 2, tensor = 2", f"B = data\n    {TENSOR}"),
        "fsdp and tensor, compiled": ("compiled", "data = 2, tensor = 2", f"B = data\n    {TENSOR}"),
    },
}


@dataclass(frozen=True)
class Folder:
    """Where the runs of all tests are."""

    path: Path

    def spec(self, name: str, model: str, mesh: str = "", axes: str = "") -> Path:
        uses, base, sizes, penalties = MODELS[model]
        shard = f"  shard mesh({mesh}) {{\n    {axes}\n  }}" if mesh else ""
        text = SPEC
        for word, by in (
            ("USES", uses), ("MODEL", base), ("SIZES", sizes), ("PENALTIES", penalties), ("SHARD", shard),
            ("TEXTS", str(self.path / "texts")), ("OPTIMIZER", OTHERS.get(model, ADAMW)),
        ):
            text = text.replace(word, by)
        path = self.path / f"{name.replace(' ', '-')}.llm"
        path.write_text(text)
        return path

    def run(self, name: str) -> Path:
        return self.path / "runs" / name.replace(" ", "-")

    def job(self, name: str, model: str, mesh: str, axes: str = "", steps: int | None = None) -> dict[str, object]:
        return {"spec": str(self.spec(name, model, mesh, axes)), "out": str(self.run(name)), "steps": steps}

    def start(self, ranks: int, jobs: list[dict[str, object]]) -> subprocess.Popen[bytes]:
        listed = self.path / f"jobs-{time.monotonic_ns()}.json"
        listed.write_text(json.dumps(jobs))
        words = [sys.executable, together.__file__, str(ranks), str(listed)]
        return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)

    def finish(self, ranks: int, jobs: list[dict[str, object]]) -> None:
        assert self.start(ranks, jobs).wait(timeout=300) == 0

    def kill(self, name: str, *settings: str) -> None:
        """Starts a run in two processes, which are killed behind the first checkpoint, wherever they are then."""
        started = self.start(2, [self.job(name, *settings)])
        until = time.monotonic() + 200
        while not (self.run(name) / "first" / "checkpoints" / "step-00000002").is_dir():
            assert time.monotonic() < until and started.poll() is None
            time.sleep(0.01)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()

    def damage(self, name: str, copy: str) -> None:
        """Copies a run to where its newest checkpoint has a part that is not what was written, and no weights."""
        shutil.copytree(self.run(name), self.run(copy))
        stage = self.run(copy) / "first"
        with next((stage / "checkpoints" / "step-00000004").glob("__1_*")).open("r+b") as file:
            file.write(b"rubbish")
        (stage / "weights.safetensors").unlink()

    def history(self, name: str) -> list[dict[str, str]]:
        with (self.run(name) / "first" / "loss.csv").open() as file:
            return list(csv.DictReader(file))

    def weights(self, name: str) -> dict[str, object]:
        return safetensors.torch.load_file(self.run(name) / "first" / "weights.safetensors")

    def same(self, name: str, other: str) -> None:
        """Asserts that two runs went the same way, within the bounds above."""
        mine, theirs = self.history(name), self.history(other)
        assert [row["step"] for row in mine] == [row["step"] for row in theirs] == ["1", "2", "3", "4"]
        for row, wanted in zip(mine, theirs, strict=True):
            for column in ("loss", "norm", "validation"):
                assert bool(row[column]) == bool(wanted[column])
                if row[column]:
                    assert math.isclose(float(row[column]), float(wanted[column]), rel_tol=HISTORY), (name, column, row)
        ours, whole = self.weights(name), self.weights(other)
        assert ours.keys() == whole.keys()
        for path, weight in whole.items():
            if not path.endswith("attn.k.offset"):  # its gradient is 0 but for rounding, which Adam makes large
                assert (ours[path] - weight).norm() <= WEIGHTS * weight.norm(), (name, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Every run of RUNS, every model of MODELS trained by one process, and runs that went on in other processes."""
    made = Folder(tmp_path_factory.mktemp("distributed"))
    small.write_texts(made.path / "texts")
    with pytest.MonkeyPatch.context() as patch:
        together.exactly(patch)
        for model in MODELS:
            together.train(made.spec(f"{model} alone", model), made.run(f"{model} alone"), None)
    together.train(made.spec("grown", "llama"), made.run("grown"), 2)
    jobs = {ranks: [made.job(name, *settings) for name, settings in runs.items()] for ranks, runs in RUNS.items()}
    jobs[2] += [made.job("wrong axis", "llama", "tensor = 2", "B = tensor"), made.job("many", "llama", "data = 3")]
    jobs[4] += [made.job("moved", "llama", "data = 2, tensor = 2", f"B = data\n    {TENSOR}", 2)]
    for ranks, listed in jobs.items():
        made.finish(ranks, listed)
    made.damage("fsdp", "damaged")
    made.kill("killed", "llama", "data = 2", "B = data")
    going_on = [
        made.job("killed", "llama", "data = 2", "B = data"),
        made.job("moved", "llama", "pipeline = 2", "", 3),
        made.job("grown", "llama", "tensor = 2", TENSOR),
        made.job("damaged", "llama", "data = 2", "B = data"),
    ]
    made.finish(2, going_on)
    together.train(made.spec("moved", "llama", "data = 1", "B = data"), made.run("moved"), None)
    return made


@pytest.mark.parametrize("name", [name for runs in RUNS.values() for name in runs])
def test_several_processes_train_as_one_does(folder: Folder, name: str) -> None:
    model = next(runs[name][0] for runs in RUNS.values() if name in runs)
    folder.same(name, f"{model} alone")


def test_one_process_compiles_its_loss_and_learns_the_same(folder: Folder) -> None:
    folder.same("compiled alone", "llama alone")


def test_with_a_mesh_layers_are_compiled_one_by_one(folder: Folder) -> None:
    for name in ("compiled", "fsdp and tensor, compiled"):
        assert folder.run(name).with_suffix(".compiled").read_text() == "Block.forward Block.forward"


def test_every_process_holds_its_part_only(folder: Folder) -> None:
    source = (folder.run("fsdp and tensor") / "first" / "part.py").read_text()
    assert "shared_over(" in source and "return reduced_over(" in source
    saved = folder.run("fsdp and tensor") / "first/checkpoints/step-00000004"
    own = torch.distributed.checkpoint.FileSystemReader(saved)
    parts = own.read_metadata().state_dict_metadata["model/blocks.0.mlp.up.weight"].chunks
    assert sorted(tuple(part.sizes) for part in parts) == [(8, 16)] * 4, "D along data, F along tensor"


def test_a_run_goes_on_with_another_number_of_processes(folder: Folder) -> None:
    """Two steps with four processes, one with two in a pipeline, the last one alone."""
    folder.same("moved", "llama alone")


def test_a_run_of_one_process_goes_on_with_two(folder: Folder) -> None:
    folder.same("grown", "llama alone")


def test_a_damaged_part_of_a_checkpoint_is_passed_over(folder: Folder) -> None:
    folder.same("damaged", "llama alone")


def test_what_cannot_be_cut_is_refused(folder: Folder) -> None:
    assert folder.run("wrong axis").with_suffix(".refused").read_text() == "E0780"
    assert folder.run("many").with_suffix(".refused").read_text() == "E0985"


def test_a_killed_run_goes_on_bit_for_bit(folder: Folder) -> None:
    columns = ("step", "tokens", "loss", "validation", "rate", "norm")
    rows = [[tuple(row[c] for c in columns) for row in folder.history(name)] for name in ("killed", "fsdp")]
    assert rows[0] == rows[1]
    files = [(folder.run(name) / "first" / "weights.safetensors").read_bytes() for name in ("killed", "fsdp")]
    assert files[0] == files[1]
