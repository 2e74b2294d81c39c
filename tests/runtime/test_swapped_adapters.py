"""Adapters as inputs: one export serves several, and writes with each what an export of its own would write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from weft.compiler.adaptation import Adaptation, adapt
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.ir.primitive import Array
from weft.compiler.stream import step
from weft.compiler.targets import target
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.adapters.swapped import adapter_values, write_onnx_adapter
from weft.runtime.session import Session

SPEC = """
use models.llama: Llama3
model Tiny = Llama3 with {
  V = 48
  D = 64
  F = 96
  H = 4
  G = 2
  layers = 2
}
"""
TOKENS = np.array([[3, 5, 7, 2, 9, 4]])


@pytest.fixture(scope="module")
def found() -> Adaptation:
    program = load_source(Source("tiny.llm", SPEC))
    return adapt(program, "Tiny", ["lora(rank = 4, alpha = 8) on blocks.attn.{q, v}"])


def _adapter(found: Adaptation, seed: int) -> dict[str, Array]:
    return {path: array for path, array in random_weights(found.module, seed).items() if path in found.trainable}


def _nothing(found: Adaptation) -> dict[str, Array]:
    return {path: np.zeros_like(array) for path, array in _adapter(found, 1).items()}


def _made(found: Adaptation, to: str) -> Module:
    return target(step(found.module, rows=True), to, apart=found.trainable, context=64)


@pytest.fixture(scope="module", params=("portable", "cpu"))
def folder(found: Adaptation, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = random_weights(found.module) | _nothing(found)
    adapters = {"one": _adapter(found, 1), "two": _adapter(found, 2)}
    made = _made(found, request.param)
    return to_onnx(made, weights, tmp_path_factory.mktemp("adapters") / request.param, adapters=adapters)


def _logits(folder: Path) -> Array:
    return Session(folder, threads=1).logits(TOKENS)


def _alone(found: Adaptation, folder: Path, adapter: Mapping[str, Array], tmp_path: Path) -> Array:
    weights = random_weights(found.module) | adapter
    return _logits(to_onnx(_made(found, folder.name), weights, tmp_path / "alone"))


def test_without_an_adapter_a_model_has_the_weights_it_was_exported_with(
    found: Adaptation, folder: Path, tmp_path: Path
) -> None:
    np.testing.assert_array_equal(_logits(folder), _alone(found, folder, _nothing(found), tmp_path))


@pytest.mark.parametrize("name, seed", (("one", 1), ("two", 2)))
def test_each_adapter_gives_what_it_gives_alone(
    found: Adaptation, folder: Path, name: str, seed: int, tmp_path: Path
) -> None:
    session = Session(folder, threads=1)
    session.use(name)
    alone = _alone(found, folder, _adapter(found, seed), tmp_path)
    np.testing.assert_array_equal(session.logits(TOKENS), alone)
    assert np.abs(alone - _logits(folder)).max() > 0.01
    session.use(None)
    np.testing.assert_array_equal(session.logits(TOKENS), _logits(folder))


def test_a_session_may_begin_with_an_adapter(folder: Path) -> None:
    session = Session(folder, threads=1)
    session.use("two")
    np.testing.assert_array_equal(Session(folder, threads=1, adapter="two").logits(TOKENS), session.logits(TOKENS))


def test_an_unknown_adapter_is_named_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(WeftError, match="the export has one, two"):
        Session(folder, threads=1).use("three")


def test_adapters_lie_beside_the_model_and_not_in_it(found: Adaptation, folder: Path) -> None:
    manifest = json.loads((folder / "weft.json").read_text())
    assert manifest["adapters"]["files"] == {name: f"adapters/{name}.safetensors" for name in ("one", "two")}
    assert {port["name"] for port in manifest["adapters"]["inputs"]} == set(adapter_values(folder, "one"))
    count = sum(int(np.prod(port["shape"])) for port in manifest["adapters"]["inputs"])
    assert count == sum(array.size for array in _adapter(found, 1).values())


def test_onnx_runtime_loads_an_adapter_itself(found: Adaptation, folder: Path, tmp_path: Path) -> None:
    file = write_onnx_adapter(folder, "one", tmp_path / "one.onnx_adapter")
    adapter = onnxruntime.LoraAdapter()
    adapter.Load(str(file))
    options = onnxruntime.RunOptions()
    options.add_active_adapter(adapter)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    given = {"input_ids": TOKENS, "attention_mask": np.ones_like(TOKENS), "position_ids": np.arange(6)[None]}
    for port in session.get_inputs():
        if port.name.startswith("past"):
            slots = 8 if "capacity" in port.shape else 0
            given[port.name] = np.zeros((1, 2, slots, 16), np.float32)
    logits = session.run(["logits"], given, options)[0]
    mine = Session(folder, threads=1)
    mine.use("one")
    np.testing.assert_array_equal(logits[:, -1], mine.logits(TOKENS)[:, -1])


def test_the_generation_library_loads_an_adapter(folder: Path, tmp_path: Path) -> None:
    og = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed: see constraints.txt")
    model = og.Model(str(folder))
    adapters = og.Adapters(model)
    adapters.load(str(write_onnx_adapter(folder, "two", tmp_path / "two.onnx_adapter")), "two")
    settings = og.GeneratorParams(model)
    settings.set_search_options(max_length=TOKENS.shape[1] + 1)
    generator = og.Generator(model, settings)
    generator.set_active_adapter(adapters, "two")
    generator.append_tokens(TOKENS[0].tolist())
    generator.generate_next_token()
    session = Session(folder, threads=1)
    session.use("two")
    assert int(generator.get_next_tokens()[0]) == int(session.logits(TOKENS)[0, -1].argmax())


def test_a_weight_that_is_stored_with_others_is_no_input(found: Adaptation, tmp_path: Path) -> None:
    module = target(step(found.module, rows=True), "cpu", context=64)  # joins what reads the same value
    with pytest.raises(WeftError, match="holds other weights as well"):
        to_onnx(module, random_weights(found.module), tmp_path / "out", adapters={"one": _adapter(found, 1)})
