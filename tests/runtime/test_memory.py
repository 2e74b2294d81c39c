"""The plan's memory of training is what PyTorch holds: counted exactly on small models, without any numbers."""

from __future__ import annotations

from functools import cache
from math import prod

import pytest
import torch
import weft
from torch import nn
from weft.compiler.depth import Shallow, shallow
from weft.compiler.emit.torch import to_torch
from weft.compiler.emit.torch.loss import chunk_rows
from weft.compiler.hidden import hidden_matrices
from weft.compiler.ir.module import Module
from weft.compiler.ir.verify import verify
from weft.compiler.optimizer_states import state_bytes
from weft.lang.forms import OPTIMIZERS
from weft.lang.plans import Term
from weft.lang.program import STDLIB, load_source
from weft.lang.source import Source, Span
from weft.runtime.memory.ledger import kept, peak
from weft.runtime.memory.step import Shape, emitted, follow, inputs, ledger
from weft.runtime.memory.training import training
from weft.runtime.optim import Parts, optimizer

LLAMA = "use models.llama: Llama3\nmodel M = Llama3 with { V = 64\n D = 32\n F = 48\n H = 4\n G = 2\n layers = 5 }\n"
GPT2 = "use models.gpt2: GPT2\nmodel M = GPT2 with { V = 640\n D = 32\n H = 4\n layers = 4 }\n"
MIXTURE = (
    "use models.mixtral: Mixtral\nmodel M = Mixtral with { V = 64\n D = 32\n F = 48\n H = 4\n G = 2\n layers = 4 }\n"
)
MIXED = (
    "use models.gemma2: Gemma2\n"
    "model M = Gemma2 with { V = 64\n D = 32\n F = 48\n H = 4\n G = 2\n K = 8\n layers = 7 }\n"
)
SPAN = Span(Source("recipe", ""), 0, 0)
MODELS = {"llama": LLAMA, "gpt2": GPT2, "mixture": MIXTURE, "kinds of layers": MIXED}
HEADS = {"llama": 64 * 32, "gpt2": 640 * 32, "mixture": 64 * 32}  # learned values of the head
SHAPES = (
    Shape(2, 24),
    Shape(2, 24, "bf16"),
    Shape(2, 24, recompute=True),
    Shape(2, 24, accumulates=True),
)


@cache
def model(name: str) -> Module:
    return weft.compile(load_source(Source("m.llm", MODELS[name])), "M")


def real(module: Module) -> nn.Module:
    """The whole emitted network, all layers, with numbers."""
    network = emitted(to_torch(module), module.name)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("shape", SHAPES, ids=("f32", "bf16", "layers again", "accumulating"))
@pytest.mark.parametrize("name", MODELS)
def test_the_ledger_of_a_few_layers_is_that_of_all_of_them_run_with_numbers(name: str, shape: Shape) -> None:
    module = model(name)
    estimated = ledger(module, shape)
    stands_for = {path: tuple(range(len(s))) for path, s in shallow(module).stands_for.items()}
    counted = follow(real(module), Shallow(module, stands_for), shape)
    assert kept(estimated).total == pytest.approx(kept(counted).total, rel=0.002)
    assert peak(estimated).total == pytest.approx(peak(counted).total, rel=0.002)


def test_the_ledger_of_a_loss_in_many_chunks_is_that_of_all_of_them() -> None:
    module, shape = model("gpt2"), Shape(4, 900)
    stands_for = {path: tuple(range(len(s))) for path, s in shallow(module).stands_for.items()}
    assert shape.rows * shape.length > 3 * chunk_rows(640)
    counted = follow(real(module), Shallow(module, stands_for), shape)
    assert peak(ledger(module, shape)).total == pytest.approx(peak(counted).total, rel=0.002)


@pytest.mark.parametrize("name", ("llama", "gpt2", "mixture"))
def test_activations_are_the_tensors_that_autograd_saves(name: str) -> None:
    """Every tensor that some operator saved, each storage once, weights and inputs left out.

    Beside them there are the gradients that the loss makes with itself: of the head's weights and of what it is given.
    """
    module = model(name)
    network = real(module)
    given = inputs(network, module, SHAPES[0])
    known = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *given.values())}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = network.hidden(given["tokens"])
    held = sum(t.untyped_storage().nbytes() for t in saved.values())
    made = 4 * (HEADS[name] + 2 * 24 * 32)
    assert hidden is not None  # penalties, too, are held until here
    assert kept(ledger(module, SHAPES[0])).total == pytest.approx(held + made, rel=0.01)


def test_a_few_layers_are_a_model_of_their_own() -> None:
    module = weft.compile(weft.load(STDLIB / "models" / "gemma2.llm"), "Gemma2")
    small = shallow(module)
    assert not verify(small.module)
    assert len(small.stands_for["blocks"]) == 26
    assert set(small.stands_for["blocks"]) == {0, 1, 2, 3}
    assert small.module.parameter_count() < module.parameter_count()


def test_frozen_weights_have_no_gradient_and_no_state() -> None:
    module = model("llama")
    paths = frozenset(path for path, _ in module.parameters() if not path.startswith("blocks.4"))
    learned = sum(prod(p.shape) for path, p in module.parameters() if path not in paths)
    some = training(module, Shape(2, 24, accumulates=True, frozen=paths))
    assert some.states == 8 * learned
    assert some.gradients == 4 * learned
    assert some.total < training(module, Shape(2, 24, accumulates=True)).total


def test_a_recurrence_is_run_on_few_tokens_and_counted_for_all() -> None:
    text = "use models.mamba: MambaLM\nmodel M = MambaLM with { V = 64\n D = 16\n C = 32\n N = 4\n layers = 2 }\n"
    module = weft.compile(load_source(Source("m.llm", text)), "M")
    shape = Shape(1, 24)
    counted = follow(real(module), Shallow(module, {"blocks": (0, 1)}), shape)
    estimated = ledger(module, shape)
    assert kept(estimated).total == pytest.approx(kept(counted).total, rel=0.002)
    assert peak(estimated).total == pytest.approx(
        peak(counted).total, rel=0.05
    )  # the working memory of few tokens is no parabola


def test_the_memory_of_a_405b_model_takes_a_moment() -> None:
    module = weft.compile(weft.load(STDLIB / "models" / "llama.llm"), "Llama3_405B")
    found = training(module, Shape(1, 8192, "bf16", recompute=True))
    count = module.parameter_count()
    assert found.weights + found.states == 12 * count
    assert 16 * count < found.total < 17 * count


@pytest.mark.parametrize("name", ("adamw", "adamw8", "lion", "lion8", "muon", "adafactor", "sgd", "schedule_free"))
def test_states_of_optimizers_are_as_large_as_planned(name: str) -> None:
    module = model("mixture")
    network = real(module)
    matrices = hidden_matrices(module)
    parameters = dict(network.named_parameters())
    written = {form.name: form for form in OPTIMIZERS.forms}[name.removesuffix("8")]
    settings = {a.name: a.default for a in written.arguments}
    settings |= {"lr": Term("constant", (("peak", 1e-3), ("warmup", None)), SPAN)}
    settings |= {"bits": 8} if name.endswith("8") else {}
    settings |= {"momentum": 0.9} if name == "sgd" else {}
    made = optimizer(Parts(parameters, (), {}, matrices), Term(written.name, tuple(settings.items()), SPAN))
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    made.step(1e-3)
    held = sum(
        t.untyped_storage().nbytes() for key, t in made.state().items() if not key.startswith(("count.", "totals."))
    )
    assert held == sum(state_bytes(name, p.shape, matrices.get(path)) for path, p in module.parameters())
