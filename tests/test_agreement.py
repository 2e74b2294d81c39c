"""Random programs mean the same everywhere: reference, PyTorch, ONNX Runtime, cached decoding, padding and packing.

`python -m pytest tests/test_agreement.py --programs 3000` draws thousands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from weft.compiler.check import check
from weft.compiler.emit.reference import run
from weft.compiler.emit.torch import to_torch
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.ir.verify import verify as verify_module
from weft.compiler.stream import step
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.model import build
from weft.runtime.verify import verify

from .programs import programs

PARTS = 6
onnxruntime.set_default_logger_severity(3)  # warnings about shapes of drawn programs


def compiled(text: str) -> Module:
    checked = check(load_source(Source("drawn.llm", text)))
    assert not checked.diagnostics, f"a well-typed program is refused: {checked.diagnostics}\n{text}"
    return checked.modules["Drawn"]


def settings_for(count: int) -> settings:
    phases = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
    return settings(
        max_examples=count, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck)
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_every_back_end_and_form_agrees_on_drawn_programs(part: int, request: pytest.FixtureRequest) -> None:
    count = -(-request.config.getoption("--programs") // PARTS)

    @seed(part)
    @settings_for(count)
    @given(programs())
    def agree(text: str) -> None:
        module = compiled(text)
        verify_module(module)
        failed = [c for c in verify(module, weight_sets=1, bfloat16=False) if not c.passed]
        assert not failed, f"{failed}\n{text}"

    agree()


def loss_and_gradients(
    module: Module, weights: dict[str, Any], tokens: np.ndarray, path: Path
) -> tuple[Any, dict[str, Any]]:
    model = build(to_torch(module), module.name, path).double()
    model.load_state_dict({n: torch.from_numpy(np.asarray(w, np.float64)) for n, w in weights.items()})
    output = model(torch.from_numpy(tokens))
    scale = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).reshape(output.shape)
    loss = (output * scale).sum()
    loss.backward()
    return scale.numpy(), {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}


def test_gradients_equal_finite_differences_of_the_reference(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 5, (2, 5))

    @seed(11)
    @settings_for(12)
    @given(programs())
    def agree(text: str) -> None:
        if "best(" in text or "max" in text or "min" in text or "relu(" in text or "abs(" in text:
            return  # these have kinks, where a difference quotient is no derivative
        module = compiled(text)
        weights = {n: np.asarray(w, np.float64) for n, w in random_weights(module, 1).items()}
        scale, gradients = loss_and_gradients(module, weights, tokens, tmp_path / "model.py")
        draw = np.random.default_rng(3)
        for name in draw.choice(sorted(gradients), min(3, len(gradients)), replace=False):
            direction = draw.normal(size=weights[name].shape)
            ends = []
            for sign in (1, -1):
                moved = {**weights, name: weights[name] + sign * 1e-5 * direction}
                ends.append(float((run(module, moved, {"tokens": tokens}).values[0] * scale).sum()))
            slope = (ends[0] - ends[1]) / 2e-5
            exact = float((gradients[name] * direction).sum())
            size = abs(slope) + abs(exact) + float(np.abs(ends).sum()) * 1e-6
            assert abs(slope - exact) <= 1e-5 * max(size, 1.0), f"{name}: {slope} and {exact}\n{text}"

    agree()


def test_a_step_never_sees_the_future() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, (1, 8))

    @seed(5)
    @settings_for(20)
    @given(programs())
    def agree(text: str) -> None:
        module = compiled(text)
        step(module)  # it streams, so its past may not depend on its future
        weights = random_weights(module, 0)
        changed = tokens.copy()
        changed[:, 5:] = (changed[:, 5:] + 1) % 5
        before, after = (run(module, weights, {"tokens": t}).values[0] for t in (tokens, changed))
        np.testing.assert_array_equal(before[:, :5], after[:, :5])

    agree()
