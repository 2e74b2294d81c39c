"""The reference runs every form of a module; its sizes come from the arrays."""

from __future__ import annotations

import modules
import numpy as np
import pytest
from modules import B, Body, D, T, at, axis, collect, real
from weft.compiler.emit.reference import Noise, run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.control import repeat, scan
from weft.compiler.ir.module import Init, Instance, Layers, Module, Parameter
from weft.compiler.ir.ops import constant
from weft.lang.axes import Axis

generator = np.random.default_rng(0)


@pytest.mark.parametrize("length", [0, 1, 6])
def test_a_scan_over_any_length_is_a_loop(length: int) -> None:
    module = modules.recurrence()
    keep, x = generator.normal(size=8), generator.normal(size=(2, length, 8))
    state, expected = np.zeros((2, 8)), np.zeros((2, length, 8))
    for t in range(length):
        state = state / (1 + np.exp(-keep)) + x[:, t]
        expected[:, t] = np.tanh(state)
    result = run(module, {"keep": keep}, {"x": x})
    assert result.values[0].shape == (2, length, 8)
    np.testing.assert_allclose(result.values[0], expected, rtol=1e-12)


def test_the_final_state_of_an_empty_scan_is_the_initial_one() -> None:
    b = Body(s=real(B, D), x=real(B, D))
    step = b.done("scan", b.add(*b.given), b.given[0], outputs=("next.s", "yield.0"))
    b = Body(x=real(B, T, D))
    start = b.expand(constant(b.graph, 3.0), axes=(B, D))
    _, last = scan(b.graph, step.name, T, (start,), b.given, (), (real(B, D), real(B, D)))
    entry = b.done("Sum.forward", last)
    module = Module("Sum", collect(step, entry), entry.name, Instance("Sum"), ("T", "S"), "full", "B", "T")
    assert (run(module, {}, {"x": np.zeros((2, 0, 8))}).values[0] == np.full((2, 8), 3.0)).all()
    assert (run(module, {}, {"x": np.ones((2, 4, 8))}).values[0] == np.full((2, 8), 7.0)).all()


def test_layers_run_in_their_order_each_on_its_own_parameters() -> None:
    x, y = generator.normal(size=(2, 8)), generator.normal(size=8)
    module = modules.differing_layers()
    weights = {f"blocks.{i}.scale": generator.normal(size=8) for i in range(4)}
    h, cost = x, 0.0
    for i in range(4):
        h = (np.tanh if i % 2 == 0 else lambda v: 1 / (1 + np.exp(-v)))(h * weights[f"blocks.{i}.scale"]) + y
        cost += float(np.mean(h**2))
    result = run(module, weights, {"x": x, "y": y})
    np.testing.assert_allclose(result.values[0], h, rtol=1e-12)
    assert result.penalties == pytest.approx({"size": cost})


def test_a_call_reaches_an_instance_beside_its_own() -> None:
    b = Body(x=real(B, D))
    inner = b.done("Inner.forward", b.mul(b.given[0], b.param("scale", real(D))), block="Inner")
    b = Body(x=real(B, D))
    shared = b.run(inner, *b.given, on=at("shared", up=2), site="shared")
    layer = b.done("blocks.forward", b.add(shared, b.run(inner, *b.given, on=at("own"), site="own")), block="blocks")
    b = Body(x=real(B, D))
    (out,) = repeat(b.graph, (layer.name,), (0, 0), b.given, (real(B, D),), "blocks", at("blocks"), 1, 0)
    entry = b.done("Demo.forward", out)
    scale = Instance("Inner", (Parameter("scale", real(D), Init("constant", (("value", 1.0),))),))
    layers = Layers((Instance("blocks", (), (("own", scale),)),), (0, 0))
    root = Instance("Demo", (), (("shared", scale), ("blocks", layers)))
    module = Module("Demo", collect(inner, layer, entry), entry.name, root, None, "full", "B", "")
    values = {"shared": 2.0, "blocks.0.own": 3.0, "blocks.1.own": 5.0}
    weights = {f"{path}.scale": np.full(8, value) for path, value in values.items()}
    result = run(module, weights, {"x": np.ones((1, 8))})
    assert (result.values[0] == 5 * 7).all()


def test_arrays_that_do_not_fit_are_named() -> None:
    module = modules.decoder(1)
    weights = random_weights(module)
    tokens = np.zeros((2, 3), np.int64)
    with pytest.raises(ValueError, match="input `tokens`"):
        run(module, weights, {"tokens": tokens[0]})
    with pytest.raises(ValueError, match=r"blocks\.0\.attn_norm\.scale"):
        run(module, {**weights, "blocks.0.attn_norm.scale": np.ones(7)}, {"tokens": tokens})
    with pytest.raises(KeyError, match=r"norm\.scale"):
        run(module, {k: v for k, v in weights.items() if k != "norm.scale"}, {"tokens": tokens})


def test_a_step_starts_without_states_and_goes_on_with_them() -> None:
    module = modules.shifting_step()
    x = generator.normal(size=(2, 5, 8))
    first = run(module, {}, {"x": x[:, :2]})
    second = run(module, {}, {"x": x[:, 2:]}, {"past": np.array(2)}, first.states)
    expected = x + np.concatenate([np.zeros((2, 1, 8)), x[:, :-1]], axis=1)
    np.testing.assert_array_equal(np.concatenate([first.values[0], second.values[0]], axis=1), expected)


def test_noise_has_the_size_that_was_asked_for_and_is_repeatable() -> None:
    b = Body(x=real(B, D))
    module = modules.single(b.done("Square.forward", b.mul(*b.given, *b.given)))
    x = generator.normal(size=(50, 8))
    exact = run(module, {}, {"x": x}).values[0]
    noisy = [run(module, {}, {"x": x}, noise=Noise(2**-9, np.random.default_rng(s))).values[0] for s in (1, 1, 2)]
    relative = np.abs(noisy[0] / exact - 1)
    assert 0.9 * 2**-9 < relative.max() <= 2**-9
    assert (noisy[0] == noisy[1]).all() and not (noisy[0] == noisy[2]).all()


def test_moving_values_makes_no_noise() -> None:
    b = Body(x=real(B, D))
    parts = Axis("H", D.size / axis("J", 4).size), axis("J", 4)
    moved = b.merge(b.split(*b.given, axis="D", into=parts), axes=("J", "H"), into=D)
    module = modules.single(b.done("Move.forward", moved))
    x = generator.normal(size=(3, 8))
    noise = Noise(2**-9, np.random.default_rng(0))
    np.testing.assert_array_equal(run(module, {}, {"x": x}, noise=noise).values[0], run(module, {}, {"x": x}).values[0])
