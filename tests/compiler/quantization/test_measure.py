"""Errors of quantized matrices, and formats chosen by them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.quantization.codes import dequantized
from weft.compiler.quantization.measure import costs, error
from weft.compiler.quantization.mixed import Cost, mixed
from weft.compiler.quantization.nearest import quantize
from weft.compiler.quantization.scheme import Grouped, Half, PerColumn
from weft.lang.diagnostics import WeftError


def drawn(K: int = 96, N: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((K, N), dtype=np.float32)


def test_errors_are_those_of_weights_and_of_outputs() -> None:
    weight, x = drawn(), drawn(400, 96, 1).astype(np.float64)
    quantized = quantize(weight, Grouped(4, 32))
    found = error(weight, quantized, x.T @ x, chunk=7)
    off = weight - dequantized(quantized, np.float64)
    assert found.weights == pytest.approx(np.linalg.norm(off) / np.linalg.norm(weight))
    assert found.outputs == pytest.approx(np.linalg.norm(x @ off) / np.linalg.norm(x @ weight))
    columns = np.linalg.norm(x @ off, axis=0) / np.linalg.norm(x @ weight, axis=0)
    assert found.worst_column == columns.argmax()
    assert found.worst == pytest.approx(columns.max())
    assert error(weight, dequantized(quantized, np.float64), x.T @ x).outputs == pytest.approx(found.outputs)


def test_without_inputs_the_worst_column_is_that_of_the_weights() -> None:
    weight = drawn()
    stand_in = weight.copy()
    stand_in[:, 11] *= 1.5
    found = error(weight, stand_in)
    assert found.outputs is None
    assert (found.worst_column, found.worst) == (11, pytest.approx(0.5))


def test_no_error_of_nothing_is_none_and_any_error_of_nothing_is_infinite() -> None:
    nothing = np.zeros((32, 4), np.float32)
    assert error(nothing, nothing).weights == 0
    assert error(nothing, nothing + 1).weights == np.inf


def test_more_bits_cost_more_bytes_and_less_error() -> None:
    schemes = (Grouped(2, 32), Grouped(4, 32), Grouped(8, 32), Half())
    x = drawn(400, 96, 1)
    for hessian in (None, x.T @ x):
        found = costs(drawn(), schemes, hessian)
        sizes, off = [found[s].bytes for s in schemes], [found[s].error for s in schemes]
        assert sizes == sorted(sizes)
        assert off == sorted(off, reverse=True)
    assert found[Grouped(4, 32)].bytes == quantize(drawn(), Grouped(4, 32)).bytes


def test_the_matrix_with_the_larger_error_gets_the_bits() -> None:
    schemes = (Grouped(4, 32), PerColumn())
    smooth, rough = drawn(), drawn(seed=1)
    rough[0] *= 30
    rough[33] *= 30
    found = {name: costs(weight, schemes) for name, weight in (("smooth", smooth), ("rough", rough))}
    budget = found["smooth"][schemes[0]].bytes + found["smooth"][schemes[1]].bytes
    chosen = mixed(found, budget)
    assert sorted(s.name for s in chosen.values()) == ["int4(group = 32)", "int8"]
    worse = max(found, key=lambda name: found[name][schemes[0]].error - found[name][schemes[1]].error)
    assert chosen[worse] == schemes[1]


def test_a_budget_that_is_too_small_says_what_is_needed() -> None:
    with pytest.raises(WeftError) as caught:
        mixed({"a": {4: Cost(100, 1.0), 8: Cost(200, 0.5)}, "b": {4: Cost(50, 1.0)}}, 149)
    assert caught.value.diagnostics[0].code == "E0814"
    assert "150" in "".join(caught.value.diagnostics[0].notes)
    assert mixed({"a": {4: Cost(100, 1.0), 8: Cost(200, 0.5)}}, 199) == {"a": 4}


def test_with_enough_room_every_matrix_gets_its_best_format() -> None:
    # 5 bits are larger than 6 and no better: never chosen
    options = {4: Cost(100, 1.0), 5: Cost(160, 0.9), 6: Cost(150, 0.5), 8: Cost(200, 0.1), 16: Cost(400, 0.1)}
    assert mixed({"a": options, "b": options}, 10**9) == {"a": 8, "b": 8}


option = st.builds(Cost, st.integers(1, 60), st.floats(0, 1).map(lambda e: round(e, 3)))


@given(
    st.lists(st.dictionaries(st.sampled_from((2, 4, 8, 16)), option, min_size=1), min_size=1, max_size=5),
    st.integers(0, 300),
)
@settings(max_examples=300, deadline=None)
def test_the_choice_fits_and_is_near_the_best_of_all(options: list[dict[int, Cost]], budget: int) -> None:
    found = {f"m{i}": o for i, o in enumerate(options)}
    least = sum(min(c.bytes for c in o.values()) for o in options)
    if least > budget:
        with pytest.raises(WeftError):
            mixed(found, budget)
        return
    chosen = mixed(found, budget)
    picked = [found[name][choice] for name, choice in chosen.items()]
    assert sum(c.bytes for c in picked) <= budget
    every = list(product(*(o.values() for o in options)))
    best = min(sum(c.error for c in one) for one in every if sum(c.bytes for c in one) <= budget)
    step = max(max(c.error for c in o.values()) - min(c.error for c in o.values()) for o in options)
    assert sum(c.error for c in picked) <= best + step + 1e-9
