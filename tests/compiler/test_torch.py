"""Emitted PyTorch: reads like a file of a person, computes what the reference computes, trains and decodes."""

from __future__ import annotations

import ast
import hashlib
import keyword
from collections.abc import Callable
from functools import partial

import modules
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from modules import B, Body, D, T, V, at, axis, collect, integer, real, single
from torch_support import assert_agrees, build, draw, float64, network, source_of, tensors, values
from weft.compiler.emit.reference import run
from weft.compiler.emit.torch import to_torch
from weft.compiler.emit.torch.names import MODULE_ATTRIBUTES, RESERVED
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.control import repeat, scan
from weft.compiler.ir.module import Function, Init, Instance, Layers, Module, Parameter
from weft.compiler.ir.ops import constant
from weft.lang.diagnostics import WeftError

NORMAL = Init("normal", (("std", 0.02),))


FULL = pytest.mark.parametrize(
    "make", [modules.decoder, modules.recurrence, modules.differing_layers], ids=lambda m: m.__name__
)


def scaled(width: int = 8, name: str = "Scale.forward", init: Init = NORMAL) -> tuple[Function, Instance]:
    """A block that multiplies by its parameter."""
    b = Body(x=real(B, axis("D", width)))
    scale = real(axis("D", width))
    function = b.done(name, b.mul(b.given[0], b.param("scale", scale)), block="Scale")
    return function, Instance("Scale", (Parameter("scale", scale, init),))


# ------------------------------------------------------------------ meaning


@FULL
def test_the_network_agrees_with_the_reference(make) -> None:  # type: ignore[no-untyped-def]
    assert_agrees(make())


@FULL
def test_it_compiles_whole_and_runs_in_bfloat16(make) -> None:  # type: ignore[no-untyped-def]
    module = make()
    weights, inputs = random_weights(module, 0), draw(module)
    model = network(module, weights)
    arguments = [t.float() if t.is_floating_point() else t for t in tensors(inputs)]
    expected = values(model(*arguments))[0][0]
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(values(compiled(*arguments))[0][0], expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert values(model(*arguments))[0][0].isfinite().all()
    narrow = values(model.bfloat16()(*[t.bfloat16() if t.is_floating_point() else t for t in arguments]))[0][0]
    assert narrow.dtype == torch.bfloat16
    assert (narrow.float() - expected).abs().max() <= 0.05 * expected.abs().max()


def test_a_recurrence_accumulates_in_float32() -> None:
    module = modules.recurrence()
    model = network(module, {"keep": np.full(8, 20.0)}).bfloat16()
    x = torch.full((1, 600, 8), 1 / 1024, dtype=torch.bfloat16)
    # In bfloat16 a sum of 512 terms and more would no longer grow.
    assert float(model(x)[0, -1, 0].detach()) == pytest.approx(np.tanh(600 / 1024), rel=0.01)


def test_an_instance_outside_of_the_layers_is_handed_in() -> None:
    inner, instance = scaled()
    x = real(B, D)
    b = Body(x=x)
    shared = b.run(inner, b.given[0], on=at("shared", up=2), site="shared")
    body = b.done("blocks.forward", b.add(shared, b.given[0]), block="Block")
    b = Body(x=x)
    (h,) = repeat(b.graph, (body.name,), (0, 0), b.given, (x,), "blocks", at("blocks"), 1, 0)
    entry = b.done("Demo.forward", b.run(inner, h, on=at("shared"), site="shared"), block="Demo")
    root = Instance("Demo", (), (("shared", instance), ("blocks", Layers((Instance("Block"),), (0, 0)))))
    module = Module("Demo", collect(entry, body, inner), entry.name, root, batch="B")
    assert "def forward(self, x: Tensor, shared: nn.Module) -> Tensor:" in source_of(module)
    assert_agrees(module)


def test_what_layers_share_is_one_parameter() -> None:
    module = modules.decoder()
    model = network(module, random_weights(module, 0))
    assert [n for n, _ in model.named_parameters()].count("embed.table") == 1
    model(torch.zeros(1, 2, dtype=torch.int64)).sum().backward()
    assert model.embed.table.grad.abs().sum() > 0


# ------------------------------------------------------------------ how it reads


def test_eighty_layers_take_no_more_text_than_two() -> None:
    two, many = source_of(modules.decoder(2)), source_of(modules.decoder(80))
    assert len(many.splitlines()) == len(two.splitlines())
    assert "for _ in range(80)" in many


def test_there_is_one_class_per_block_with_arguments_for_what_differs() -> None:
    source = source_of(modules.decoder())
    classes = [n.name for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    assert classes == ["InChunks", "Embedding", "RMSNorm", "Linear", "Attention", "GatedMLP", "Blocks", "Quick"]
    functions = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    assert functions == ["summed_nll", "summed_nll_", "attend"]


def test_attention_is_the_kernel_with_the_structure_of_its_mask() -> None:
    source = source_of(modules.decoder())
    assert "is_causal=True, enable_gqa=True" in source
    assert "torch.arange" not in source  # no tensor of positions, no tensor of bools


def test_layers_that_differ_are_told_apart_by_their_number() -> None:
    source = source_of(modules.differing_layers())
    assert "nn.ModuleList(Blocks" in source
    assert " if i % 2 == " in source


def test_layers_that_differ_in_numbers_share_a_class() -> None:
    x = real(B, D)
    b = Body(x=x)
    body = b.done("blocks.forward", b.mul(b.given[0], b.param("scale", real(D))), block="Block")
    layers = tuple(Instance("Block", (Parameter("scale", real(D), Init("normal", (("std", s),))),)) for s in (0.1, 0.2))
    b = Body(x=x)
    schedule = (0, 0, 1) * 3
    (h,) = repeat(b.graph, (body.name,), (0,) * 9, b.given, (x,), "blocks", at("blocks"), 1, 0)
    entry = b.done("Demo.forward", h, block="Demo")
    root = Instance("Demo", (), (("blocks", Layers(layers, schedule)),))
    module = Module("Demo", collect(entry, body), entry.name, root, batch="B")
    assert "nn.ModuleList(Block(std) for std in (0.1, 0.1, 0.2) * 3)" in source_of(module)
    assert_agrees(module)


def test_blocks_of_the_same_name_that_differ_are_two_classes() -> None:
    first, one = scaled()
    b = Body(x=real(B, D))
    second = b.done("Scale.forward.2", b.sub(b.given[0], b.param("scale", real(D))), block="Scale")
    b = Body(x=real(B, D))
    h = b.run(second, b.run(first, b.given[0], on=at("a"), site="a"), on=at("b"), site="b")
    entry = b.done("Demo.forward", h, block="Demo")
    module = single(entry, first, second, root=Instance("Demo", (), (("a", one), ("b", one))))
    source = source_of(module)
    assert "class Scale(" in source and "class Scale2(" in source
    assert_agrees(module)


def test_parameters_of_other_sizes_are_arguments() -> None:
    wide, one = scaled()
    narrow, two = scaled(width=3, name="Scale.forward.2")
    b = Body(x=real(B, D), y=real(B, axis("E", 3)))
    results = b.run(wide, b.given[0], on=at("a"), site="a"), b.run(narrow, b.given[1], on=at("b"), site="b")
    root = Instance("Demo", (), (("a", one), ("b", two)))
    module = single(b.done("Demo.forward", *results, block="Demo"), wide, narrow, root=root)
    source = source_of(module)
    assert "def __init__(self, D: int) -> None:" in source  # the only thing that differs
    assert "self.b = Scale(3)" in source
    assert_agrees(module)


# ------------------------------------------------------------------ training


def headed(words: int, squashed: bool) -> Module:
    """Nothing but a table and a head, whose scores may be results of `tanh`, which the backward pass reads."""
    table = real(axis("V", words), D)
    b = Body(tokens=integer(B, T))
    scores = b.dot(b.take(b.param("table", table), b.given[0], axis="V"), b.param("head", table), over=("D",))
    root = Instance("Demo", (Parameter("table", table, NORMAL), Parameter("head", table, NORMAL)))
    entry = b.done("Demo.forward", b.tanh(scores) if squashed else scores, block="Demo")
    return Module("Demo", collect(entry), entry.name, root, ("T", "S"), "full", "B", "T")


LOSSES = {
    "a decoder": modules.decoder,
    "scores that are read again": partial(headed, 11, True),
    "scores that take several blocks": partial(headed, 2**18, False),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_the_loss_in_chunks_is_the_plain_loss(make: Callable[[], Module]) -> None:
    module = make()
    model = network(module, random_weights(module, 0))
    generator = torch.Generator().manual_seed(0)
    tokens, labels = (torch.randint(0, 11, (2, 5), generator=generator) for _ in range(2))
    labels[0, 1] = -100
    weight = torch.rand(2, 5, generator=generator)
    learned = weight.clone().requires_grad_()
    losses = F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten(), reduction="none")
    plain = (learned.flatten() * losses).sum() / learned.sum()
    plain.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters()}
    for rows in (3, 10, 1024):
        for given in (weight, weight.clone().requires_grad_()):
            model.zero_grad()
            loss, penalties = model.loss(tokens, labels, given, rows=rows)
            assert penalties == {}
            torch.testing.assert_close(loss, plain)
            loss.backward()
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)
            if given.requires_grad:
                torch.testing.assert_close(given.grad, learned.grad)


def test_the_loss_in_chunks_takes_halves(rows: int = 3) -> None:
    """The formula is computed in float32 even where states, scores and their gradients are bfloat16."""
    module = modules.decoder()
    model = network(module, random_weights(module, 0), torch.bfloat16)
    tokens, weight = torch.arange(10).view(2, 5), torch.ones(2, 5)
    losses = F.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten(), reduction="none")
    losses.mean().backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    loss, _ = model.loss(tokens, tokens, weight, rows=rows)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, losses.mean())
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.bfloat16
        assert (parameter.grad - expected[name]).norm() <= 0.02 * expected[name].norm(), name


@pytest.mark.parametrize(("rows", "graphs"), [(10, 1), (3, 2)], ids=["one chunk", "chunks"])
def test_a_compiler_takes_the_loss_whole_where_it_is_one_chunk(rows: int, graphs: int) -> None:
    module = modules.decoder()
    model = network(module, random_weights(module, 0))
    tokens = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(0))
    given = tokens, tokens.roll(-1, 1), torch.arange(10).view(2, 5) / 10
    model.loss(*given)[0].backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    found = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., tuple[torch.Tensor, ...]]:
        found.append(graph)
        return graph.forward

    loss, _ = torch.compile(model.loss, backend=backend)(*given, rows=rows)
    loss.backward()
    assert len(found) == graphs
    torch.testing.assert_close(loss, model.loss(*given)[0])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)


def test_scores_of_all_tokens_never_exist_at_once() -> None:
    module = modules.decoder()
    model = network(module, random_weights(module, 0))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() and out.shape[-1] == 11:
                largest = max(largest, out.numel())
            return out

    tokens = torch.zeros(4, 50, dtype=torch.int64)
    with Watch():
        model.loss(tokens, tokens, torch.ones(4, 50), rows=20)[0].backward()
    assert largest == 20 * 11


def test_a_model_without_scores_of_tokens_has_no_loss() -> None:
    assert "def loss" not in source_of(modules.recurrence())
    assert "def loss" in source_of(modules.decoder())


def test_a_head_that_mixes_tokens_is_not_cut_into_chunks() -> None:
    b = Body(tokens=integer(B, T))
    scores = b.take(b.param("table", real(V, axis("V2", 11))), b.given[0], axis="V")
    mixed = b.cumsum(scores, axis="T")
    table = Parameter("table", real(V, axis("V2", 11)), NORMAL)
    entry = b.done("Demo.forward", mixed, block="Demo")
    module = Module("Demo", collect(entry), entry.name, Instance("Demo", (table,)), ("T", "S"), "full", "B", "T")
    source = source_of(module)
    assert "def loss" in source and "summed_loss" not in source
    model = network(module, random_weights(module, 0))
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    expected = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    torch.testing.assert_close(model.loss(tokens, tokens, torch.ones(2, 3))[0], expected)


def test_penalties_come_by_name_beside_the_value() -> None:
    module = modules.differing_layers()
    model = network(module, random_weights(module, 0))
    value, penalties = model(torch.ones(2, 8), torch.ones(8))
    assert value.shape == (2, 8) and list(penalties) == ["size"]


def test_initialise_draws_all_parameters_as_the_spec_says() -> None:
    model = build(source_of(modules.decoder()), "Quick")
    model.initialise(7)
    assert (model.norm.scale == 1).all()
    assert 0.015 < model.blocks[0].mlp.up.weight.std() < 0.025
    first = {n: p.detach().clone() for n, p in model.named_parameters()}
    assert not torch.equal(first["blocks.0.attn.q.weight"], first["blocks.1.attn.q.weight"])
    model.initialise(7)
    assert all(torch.equal(first[n], p) for n, p in model.named_parameters())
    model.initialise(8)
    assert not torch.equal(first["embed.table"], model.embed.table)


@pytest.mark.parametrize(
    ("init", "low", "high"),
    [
        (Init("uniform", (("low", -3.0), ("high", 5.0))), -3, 5), (Init("constant", (("value", 2.5),)), 2.5, 2.5),
        (Init("truncated_normal", (("std", 0.5),)), -1, 1), (Init("constant", (("value", 0.0),)), 0, 0),
    ],
)
def test_initialisers(init: Init, low: float, high: float) -> None:
    function, instance = scaled(width=1000, init=init)
    model = build(source_of(single(function, name="Scale", root=instance)), "Scale")
    model.initialise(0)
    assert model.scale.min() >= low and model.scale.max() <= high
    assert low == high or model.scale.max() - model.scale.min() > 0.8 * (high - low)


def test_an_unknown_initialiser_is_refused() -> None:
    function, instance = scaled(init=Init("lucky"))
    with pytest.raises(WeftError, match="E0810"):
        to_torch(single(function, root=instance))


# ------------------------------------------------------------------ dropout


def dropping(places: tuple[str, ...] = ("a", "b")) -> Module:
    b = Body(x=real(B, D))
    inner = b.done("Dropout.forward", b("dropout", b.given[0], name="dropout", rate=0.25), block="Dropout")
    b = Body(x=real(B, D))
    h = b.given[0]
    for i, place in enumerate(places):
        h = b.run(inner, h, on=at(place), site=f"{place}_{i}")
    children = tuple((p, Instance("Dropout")) for p in dict.fromkeys(places))
    return single(b.done("Demo.forward", h, block="Demo"), inner, root=Instance("Demo", (), children))


def kept(key: int, count: int, rate: float) -> np.ndarray:
    """The keep mask as the emitted docstring states it, in plain Python."""

    def mix(h: int) -> int:
        h = ((h ^ (h >> 16)) * 0x21F0AAAD) % 2**32
        h = ((h ^ (h >> 15)) * 0x735A2D97) % 2**32
        return h ^ (h >> 15)

    return np.asarray([mix(mix(i ^ (key % 2**32)) ^ (key >> 32)) >= rate * 2**32 for i in range(count)])


def test_dropout_is_a_function_of_seed_step_place_and_element() -> None:
    model = build(source_of(dropping(("a",))), "Demo").train()
    x = torch.ones(50, 8)
    model.set_noise(3, 41)
    key = int.from_bytes(hashlib.sha256(b"3/41/a.key").digest()[:8], "big") >> 1
    expected = kept(key, 400, 0.25).reshape(50, 8) / 0.75
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-6)
    assert 0.2 < float((model(x) == 0).float().mean()) < 0.3
    torch.testing.assert_close(model(x), model(x))
    before = model(x)
    model.set_noise(3, 42)
    assert not torch.equal(model(x), before)
    torch.testing.assert_close(model.eval()(x), x)


def test_two_dropouts_draw_differently_and_keep_no_state() -> None:
    model = build(source_of(dropping()), "Demo").train()
    model.set_noise(0, 0)
    assert int(model.a.key) != int(model.b.key)
    assert list(model.state_dict()) == []
    assert 0.35 < float((model(torch.ones(100, 8)) == 0).float().mean()) < 0.53


def test_one_dropout_in_two_places_is_refused() -> None:
    with pytest.raises(WeftError, match="E0810"):
        to_torch(dropping(("a", "a")))


def test_dropout_in_a_fn_has_its_key_in_the_method_that_calls_it() -> None:
    b = Body(x=real(B, D))
    inner = b.done("noisy", b("dropout", b.given[0], name="dropout", rate=0.5), definition="demo.noisy")
    b = Body(x=real(B, D))
    twice = b.mul(b.run(inner, b.sin(b.given[0]), site="noisy"), b.run(inner, b.cos(b.given[0]), site="noisy_2"))
    outer = b.done("outer", b.add(twice, 1.0), definition="demo.outer")
    b = Body(x=real(B, D))
    entry = b.done("Demo.forward", b.run(outer, b.given[0], site="o"), block="Demo")
    model = build(source_of(single(entry, outer, inner)), "Demo")
    assert [n for n, _ in model.named_buffers()] == ["key", "key_2"]
    model.set_noise(0, 0)
    x = torch.full((50, 8), 1.0)
    share = float((model.train()(x) == 1).float().mean())
    assert 0.65 < share < 0.85  # dropped by one of the two or by both
    assert float((model.eval()(x) == 1).float().mean()) == 0


def test_dropout_in_a_scan_is_refused() -> None:
    b = Body(s=real(B, D), x=real(B, D))
    total = b("dropout", b.add(*b.given), name="dropout", rate=0.5)
    body = b.done("scan", total, total, outputs=("next.s", "yield.0"), block="Demo", method="scan")
    b = Body(x=real(B, T, D))
    start = b.expand(constant(b.graph, 0.0), axes=(B, D))
    out, _ = scan(b.graph, body.name, T, (start,), b.given, (), (real(B, D), real(B, D)))
    entry = b.done("Demo.forward", out, block="Demo")
    with pytest.raises(WeftError, match="E0810"):
        to_torch(Module("Demo", collect(body, entry), entry.name, Instance("Demo"), ("T", "S"), "full", "B", "T"))


# ------------------------------------------------------------------ steps


def test_states_are_read_and_written_by_the_path_of_their_place() -> None:
    module = modules.shifting_step()
    with float64():
        model = network(module, {}, torch.float64)
        x = torch.randn(2, 3, 8)
        states = model.initial_states(2)
        assert {n: tuple(s.shape) for n, s in states.items()} == {"before": (2, 1, 8)}
        output, after = model(x, torch.tensor(0), states)
    assert (states["before"] == 0).all()  # what was given is not changed
    expected = run(module, {}, {"x": x.numpy()}, {"past": np.asarray(0)}, {"before": np.zeros((2, 1, 8))})
    np.testing.assert_allclose(output.numpy(), expected.values[0])
    np.testing.assert_allclose(after["before"].numpy(), expected.states["before"])


# ------------------------------------------------------------------ names

HOSTILE = ("x): import os #", "torch", "class", "é", "lambda", "__class__", "print", "x\ny", '"""', "{x}", "match", "F")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_values_never_become_code(name: str) -> None:
    b = Body(**{name: real(B, axis(name, 8)), "y": real(axis(name, 8))})
    x, y = b.given
    twice = b.tanh(b.mul(x, y))
    result = b.mul(twice, b.add(twice, b.sin(twice)))
    fn = b.done(name, result, definition=f"demo.{name}")
    b = Body(x=real(B, D), y=real(D))
    (value,) = (b.run(fn, *b.given, site="f"),)
    entry = b.done("Demo.forward", value, block="Demo")
    module = single(entry, fn)
    for node in ast.walk(ast.parse(source_of(module))):
        assert not isinstance(node, ast.Import | ast.Lambda) or ast.unparse(node).startswith("import torch")
    assert_agrees(module)


@pytest.mark.parametrize(
    "name", [*(n for n in HOSTILE[:6] if n != "torch"), "train", "parameters", "state_dict", "_modules", "initialise"]
)
def test_members_that_a_module_cannot_have_are_refused(name: str) -> None:
    b = Body(x=real(B, D))
    entry = b.done("Demo.forward", b.mul(b.given[0], b.param(name, real(D))), block="Demo")
    with pytest.raises(WeftError, match="E0810"):
        to_torch(single(entry, root=Instance("Demo", (Parameter(name, real(D), NORMAL),))))


def test_the_names_that_modules_use_are_all_known() -> None:
    used = {n for n in dir(torch.nn.Module()) if not n.startswith("_")}
    assert used <= MODULE_ATTRIBUTES
    assert {*keyword.kwlist, "print", "torch", "F", "self"} <= RESERVED


@pytest.mark.parametrize("name", ["torch", "F", "a b", "__main__", "print"])
def test_models_with_names_that_a_class_cannot_have_are_refused(name: str) -> None:
    b = Body(x=real(B, D))
    with pytest.raises(WeftError, match="E0810"):
        to_torch(single(b.done("Demo.forward", b.tanh(b.given[0]), block="Demo"), name=name))


def test_what_nothing_uses_is_kept_with_the_weights() -> None:
    function, instance = scaled()
    b = Body(x=real(B, D))
    entry = b.done("Demo.forward", b.run(function, b.given[0], on=at("a"), site="a"), block="Demo")
    root = Instance("Demo", (), (("a", instance), ("spare", Instance("Spare", (Parameter("w", real(D), NORMAL),)))))
    model = build(source_of(single(entry, function, root=root)), "Demo")
    assert list(model.state_dict()) == ["a.scale", "spare.w"]


def test_penalties_with_hostile_names_are_strings() -> None:
    b = Body(x=real(B, D))
    name = 'a": __import__("os"), "b'
    mean = b.mean(b.given[0], over=("B", "D"))
    entry = b.done("Demo.forward", b.given[0], mean, outputs=("value", f"penalty.{name}"), block="Demo")
    model = build(source_of(single(entry)), "Demo")
    assert list(model(torch.ones(2, 8))[1]) == [name]


def test_a_place_with_an_unusual_name_is_refused() -> None:
    module = modules.shifting_step()
    inner = module.main
    b = Body(x=real(B, T, D))
    entry = b.done("Outer.forward", b.run(inner, b.given[0], on=at("a"), site='"}{'), block="Outer")
    root = Instance("Outer", (), (("a", Instance("Shift")),))
    with pytest.raises(WeftError, match="E0810"):
        to_torch(Module("Outer", collect(entry, inner), entry.name, root, ("T", "S"), "step", "B", "T"))
