"""The loop of training: whatever a stage asks of it, stopping and going on changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import practice
import pytest
import torch
from practice import Sequences, plan, task, weights
from weft.lang.diagnostics import WeftError
from weft.lang.plans import StagePlan
from weft.runtime.training import checkpoints
from weft.runtime.training.events import Event, read_events
from weft.runtime.training.history import Row, read_history
from weft.runtime.training.pace import pace
from weft.runtime.training.train import Options, Result, train


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small tensors are faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(
    stage: StagePlan, folder: Path, stop: int | None = None, poison: range = range(0)
) -> tuple[torch.Tensor, Result]:
    made = task(stage, poison)
    result = train(made, stage, folder, options=Options(stop=stop))
    return weights(made.model), result


def rows(folder: Path) -> list[tuple]:
    """The history without its clock."""
    return [(r.step, r.tokens, r.loss, r.validation, r.rate, r.norm) for r in read_history(folder / "loss.csv")]


OPTIMIZERS = {
    "adamw": "adamw(lr = cosine(peak = 1e-2, warmup = 3 steps))",
    "8 bits": "adamw(lr = 1e-2, bits = 8)",
    "lion": "lion(lr = 1e-3)",
    "muon": "muon(lr = wsd(peak = 1e-2, decay = 5 steps))",
    "adafactor": "adafactor(lr = 1e-2, relative = false)",
    "sgd": "sgd(lr = 0.1, momentum = 0.9)",
    "plain sgd": "sgd(lr = 0.1)",
    "schedule-free": "schedule_free(lr = 1e-2)",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_and_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    stage = plan(optim=OPTIMIZERS[name], budget="16 steps")
    whole, result = run(stage, tmp_path / "whole")
    for stop in (1, 4, 9):
        run(stage, tmp_path / "parts", stop)
    parts, _ = run(stage, tmp_path / "parts")
    assert torch.equal(whole, parts) and rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert result.loss < rows(tmp_path / "whole")[0][2] - 0.2


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        (["ema = 0.9"], {}),
        (["ema = 0.9", "update at(rate = 0.5) on table"], {"optim": "muon(lr = 1e-2)"}),
        ([], {"precision": "compute = f16"}),
        ([], {"batch": "ramp(start = 64 tokens, to = 128 tokens, over = 1000 tokens)"}),
        (["deterministic = true"], {"precision": "compute = bf16"}),
    ],
    ids=["ema", "ema with muon", "f16", "ramp", "deterministic"],
)
def test_every_setting_goes_on_bit_for_bit(lines: list[str], changes: dict[str, str], tmp_path: Path) -> None:
    stage = plan(*lines, **changes)  # type: ignore[arg-type]
    whole, _ = run(stage, tmp_path / "whole")
    for stop in (2, 3, 11):
        run(stage, tmp_path / "parts", stop)
    parts, _ = run(stage, tmp_path / "parts")
    assert torch.equal(whole, parts) and rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_micro_batches_of_any_size_lead_to_the_same_weights(tmp_path: Path) -> None:
    ends = []
    for micro in (8, 4, 2, 1):
        stage = plan(micro=f"{micro} sequences", budget="8 steps", optim="sgd(lr = 0.1, momentum = 0.9)")
        ends.append(run(stage, tmp_path / str(micro))[0])
    for end in ends[1:]:
        torch.testing.assert_close(ends[0], end, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------ spikes


SPIKY = {"optim": "adamw(lr = 3e-3)", "budget": "30 steps", "save": "4 steps"}


def test_a_spike_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    stage = plan("spikes = skip(window = 8)", **SPIKY)
    _, result = run(stage, tmp_path, poison=range(8 * 12, 8 * 12 + 8))
    (event,) = read_events(tmp_path / "events.jsonl")
    assert event.kind == "skip" and event.step == 13 and event.tokens == 13 * 128 and "loss" in event.reason
    assert result.finished and result.loss < 3.5
    calm = rows(tmp_path)
    assert calm[12][2] > 1000 and calm[13][2] < 5, "the weights are those from before the spike"


def test_spikes_in_a_row_rewind_and_leave_their_data_behind(tmp_path: Path) -> None:
    stage = plan("spikes = rewind(window = 16, after = 2)", **SPIKY)
    poison = range(8 * 17, 8 * 19)
    whole, result = run(stage, tmp_path / "whole", poison=poison)
    events = read_events(tmp_path / "whole" / "events.jsonl")
    assert [(e.kind, e.step, e.to) for e in events] == [("skip", 18, None), ("skip", 19, None), ("rewind", 19, 16)]
    assert [r[0] for r in rows(tmp_path / "whole")] == list(range(1, 31)), "each step has one row"
    assert result.finished and all(r[2] < 100 for r in rows(tmp_path / "whole"))
    saved, _ = checkpoints.newest_good(tmp_path / "whole" / "checkpoints")
    assert saved is not None and saved.state["drawn"] == [8 * (19 + 14)], "lost data are not seen again"
    for stop in (7, 17, 18, 20, 25):
        run(stage, tmp_path / "parts", stop, poison)
    parts, _ = run(stage, tmp_path / "parts", poison=poison)
    assert torch.equal(whole, parts) and rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert read_events(tmp_path / "parts" / "events.jsonl") == events


def test_a_run_that_keeps_spiking_gives_up(tmp_path: Path) -> None:
    stage = plan("spikes = rewind(after = 2, tries = 2)", **{**SPIKY, "optim": "adamw(lr = 1e15)"})
    with pytest.raises(WeftError) as caught:
        run(stage, tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == "E0925" and "no checkpoint to go back to" in found.title
    poisoned = plan("spikes = rewind(window = 16, after = 2, tries = 2)", **SPIKY)
    with pytest.raises(WeftError) as caught:
        run(poisoned, tmp_path / "other", poison=range(8 * 17, 10_000))
    (found,) = caught.value.diagnostics
    assert found.code == "E0925" and "after 2 rewinds" in found.title and found.notes


def test_stop_takes_spikes_but_no_loss_that_is_not_finite(tmp_path: Path) -> None:
    stage = plan("spikes = stop", **SPIKY)
    _, result = run(stage, tmp_path / "spike", poison=range(8 * 12, 8 * 13))
    assert result.finished and not read_events(tmp_path / "spike" / "events.jsonl")
    with pytest.raises(WeftError) as caught:
        run(plan("spikes = stop", **{**SPIKY, "optim": "adamw(lr = 1e15)"}), tmp_path / "nan")
    assert caught.value.diagnostics[0].code == "E0945"


# ------------------------------------------------------------------ averages, halves, time


def test_a_stage_ends_with_the_average_that_was_validated(tmp_path: Path) -> None:
    stage = plan("ema = 0.8")
    made = task(stage)
    train(made, stage, tmp_path)
    saved, _ = checkpoints.newest_good(tmp_path / "checkpoints")
    assert saved is not None
    for name, parameter in made.model.named_parameters():
        assert torch.equal(parameter, saved.tensors["average"][name])
        assert not torch.equal(parameter, saved.tensors["model"][name])
    (batch,) = made.examples.validation(1, 4)
    assert rows(tmp_path)[-1][3] == pytest.approx(made.objective.mean(batch)[0], rel=1e-6)


def test_gradients_that_overflow_halve_the_scale_and_cost_a_step(tmp_path: Path) -> None:
    stage = plan(precision="compute = f16")
    _, result = run(stage, tmp_path, poison=range(8, 16))
    events = read_events(tmp_path / "events.jsonl")
    assert events and {e.kind for e in events} == {"overflow"} and result.finished
    saved, _ = checkpoints.newest_good(tmp_path / "checkpoints")
    assert saved is not None and saved.state["scaler"]["scale"] == 65_536 / 2 ** len(events)


def test_a_budget_in_time_becomes_steps_that_a_checkpoint_keeps(tmp_path: Path) -> None:
    stage = plan(budget="1 minutes")
    first = pace(stage, task(stage), "cpu").steps
    assert first > 100
    run(stage, tmp_path, stop=3)
    saved, _ = checkpoints.newest_good(tmp_path / "checkpoints")
    assert saved is not None
    _, result = run(stage, tmp_path, stop=5)
    assert result.steps == saved.state["steps"] and not result.finished


@pytest.mark.parametrize("name", ["adamw", "lion", "muon", "adafactor", "sgd", "schedule_free"])
def test_the_trial_steps_of_a_budget_in_time_change_nothing(name: str) -> None:
    stage = plan(budget="1 minutes", optim=f"{name}(lr = 0.1)")
    made = task(stage)
    before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    pace(stage, made, "cpu")
    for path, parameter in made.model.named_parameters():
        assert torch.equal(parameter, before[path]) and parameter.grad is None, path


def test_tokens_and_rates_follow_a_ramp_exactly(tmp_path: Path) -> None:
    lr = "adamw(lr = linear(peak = 1.0, warmup = 192 tokens))"
    stage = plan(batch="ramp(start = 64 tokens, to = 256 tokens, over = 512 tokens)", budget="20 steps", optim=lr)
    numbers = pace(stage, task(stage), "cpu")
    tokens = [numbers.tokens(step + 1) - numbers.tokens(step) for step in range(20)]
    assert tokens[0] == 64 and tokens[-1] == 256 and sorted(tokens) == tokens and set(tokens) <= {64, 128, 192, 256}
    warmup = numbers.schedule.warmup
    assert numbers.tokens(warmup) >= 192 > numbers.tokens(warmup - 1)
    run(plan(batch="ramp(start = 64 tokens, to = 256 tokens, over = 512 tokens)"), tmp_path)
    assert [r.tokens for r in read_history(tmp_path / "loss.csv")] == [numbers.tokens(s + 1) for s in range(24)]


def test_micro_batches_are_chosen_so_that_every_batch_of_a_ramp_is_cut_evenly() -> None:
    text = practice.RECIPE.replace("    micro  = 4 sequences\n", "").replace("EXTRA", "")
    stage = practice.small.recipe(text, batch="ramp(start = 6 sequences, to = 18 sequences, over = 9 steps)").stages[0]
    numbers = pace(stage, task(stage), "cpu")
    assert numbers.micro == 6 and all(numbers.sizes.at(s) % 6 == 0 for s in range(24))


def test_operations_without_a_deterministic_way_are_refused(tmp_path: Path) -> None:
    class Kth(practice.CrossEntropy):
        def gradients(self, batch, micro: int, step: int) -> float:  # type: ignore[no-untyped-def]
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
            return super().gradients(batch, micro, step)

    stage = plan("deterministic = true")
    made = task(stage)
    object.__setattr__(made, "objective", Kth(made.model))  # type: ignore[arg-type]
    with pytest.raises(WeftError) as caught:
        train(made, stage, tmp_path)
    assert caught.value.diagnostics[0].code == "E0926"
    assert not torch.are_deterministic_algorithms_enabled()


def test_events_are_drawn(tmp_path: Path) -> None:
    from weft.runtime.training.curve import draw_curve

    history = [Row(s, s * 10, 3.0 if s != 4 else float("nan"), None, 1e-3, 1.0, 0.1) for s in range(1, 9)]
    events = [Event("skip", 4, 40, "the loss is nan"), Event("rewind", 6, 60, "two in a row", 2)]
    draw_curve(history, None, "spikes", tmp_path / "one.png", events)
    draw_curve(history, None, "spikes", tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()
    assert Sequences().examples_per_epoch() == 64
