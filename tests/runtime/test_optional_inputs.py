"""Inputs with a default may be left out, and everything that runs a model lets its number stand in for them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from weft.compiler.check import check
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.reference import run
from weft.compiler.emit.torch import to_torch
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.equality import same
from weft.compiler.ir.module import Module
from weft.compiler.ir.text import parse_module, print_module
from weft.compiler.ir.verify import problems
from weft.compiler.lower.model import compile_model
from weft.compiler.stream import rows, step
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.engines import TorchCached
from weft.runtime.model import build
from weft.runtime.session import Session
from weft.runtime.verify import verify

TEXT = """
    use attention: Attention
    use models.bert: Bert
    use nn: Embedding, Linear
    model Encoder = Bert with {
      V = 40
      N = 24
      D = 16
      H = 2
      layers = 2
    }
    model Decoder(V: dim = 20, D: dim = 8, H: dim = 2) {
      stream T as S
      embed      = Embedding(V, D)
      type_embed = Embedding(5, D)
      attn       = Attention(D, H)
      head       = Linear(D, V)
      forward(types: int[B, T] = 3, tokens: int[B, T], bonus: [B, T] = 0.5) -> [B, T, V] {
        head(attn(embed(tokens) + 20 * type_embed(types)) + bonus)
      }
    }
    """
TOKENS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
TYPES = np.array([[0, 0, 1, 1, 0], [1, 1, 1, 0, 0]])


def compiled(name: str, text: str = TEXT) -> Module:
    return compile_model(load_source(Source("test.llm", text)), name)


def found(forward: str) -> list[str]:
    text = f"model M(D: dim = 3) {{ {forward} {{ x }} }}"
    return [d.code for d in check(load_source(Source("test.llm", text))).diagnostics]


@pytest.mark.parametrize("name", ["Encoder", "Decoder"])
def test_every_back_end_and_form_takes_them_or_their_defaults(name: str) -> None:
    text = TEXT.replace(", bonus: [B, T] = 0.5", "").replace(" + bonus", "")
    checks = list(verify(compiled(name, text), bfloat16=False, weight_sets=1))
    assert {"inputs left out, PyTorch", "inputs left out, ONNX Runtime"} <= {c.name for c in checks}
    assert all(c.passed for c in checks), [str(c) for c in checks if not c.passed]


def test_the_default_stands_for_every_entry() -> None:
    module = compiled("Decoder")
    weights = random_weights(module)
    given = {"types": np.full((2, 5), 3), "bonus": np.full((2, 5), 0.5)}
    whole = run(module, weights, {"tokens": TOKENS, **given}).values[0]
    assert np.array_equal(run(module, weights, {"tokens": TOKENS}).values[0], whole)
    assert np.array_equal(run(module, weights, {"tokens": TOKENS, "types": given["types"]}).values[0], whole)
    assert not np.allclose(run(module, weights, {"tokens": TOKENS, "types": TYPES}).values[0], whole)
    with pytest.raises(KeyError):
        run(module, weights, {"types": TYPES})


def test_the_emitted_forward_has_them_last(tmp_path: Path) -> None:
    module = compiled("Decoder")
    for form in (module, rows(module), step(module), step(module, rows=True)):
        *_, head = re.findall(r"def forward\(([^)]*)\)", to_torch(form))
        assert " ".join(head.split()).rstrip(", ").endswith("types: Tensor | None = None, bonus: Tensor | None = None")
    weights = random_weights(module)
    model = build(to_torch(module), "Decoder", tmp_path / "model.py")
    model.load_state_dict({n: torch.from_numpy(np.asarray(w)) for n, w in weights.items()})
    tokens, types = torch.from_numpy(TOKENS), torch.from_numpy(TYPES)
    for given in ({}, {"types": types}):
        exact = run(module, weights, {"tokens": TOKENS, **{n: t.numpy() for n, t in given.items()}}).values[0]
        assert np.allclose(model(tokens, **given).detach().numpy(), exact, atol=1e-3 * np.abs(exact).max())
    compiled_model = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.allclose(compiled_model(tokens), model(tokens))
    labels, weight = tokens, torch.ones(2, 5)
    loss = model.loss(tokens, labels, weight)[0]
    scores = model(tokens).flatten(0, 1)
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(scores, labels.flatten()))
    assert not torch.allclose(loss, model.loss(tokens, labels, weight, types=types)[0])


def test_a_decoder_writes_without_them(tmp_path: Path) -> None:
    module = compiled("Decoder")
    engine = TorchCached(build(to_torch(step(module)), "Decoder", tmp_path / "step.py").eval())
    assert engine.start([1, 2, 3]).shape == engine.step(4).shape == (20,)


def test_a_session_fills_in_what_is_not_given(tmp_path: Path) -> None:
    module = compiled("Encoder")
    weights = random_weights(module)
    session = Session(to_onnx(rows(module), weights, tmp_path))
    (port,) = [p for p in session.manifest["inputs"] if "default" in p]
    assert port == {"name": "token_type_ids", "dtype": "int64", "shape": ["batch", "sequence"], "default": 0}
    plain = session.logits(TOKENS)
    assert np.array_equal(plain, session.logits(TOKENS, inputs={"token_type_ids": np.zeros_like(TOKENS)}))
    typed = session.logits(TOKENS, inputs={"token_type_ids": TYPES})
    exact = run(module, weights, {"tokens": TOKENS, "types": TYPES}).values[0]
    assert np.allclose(typed, exact, atol=1e-3 * np.abs(exact).max()) and not np.allclose(typed, plain)
    for wrong in ({"types": TYPES}, {"token_type_ids": TYPES[:1]}):
        with pytest.raises(WeftError) as caught:
            session.logits(TOKENS, inputs=wrong)
        assert caught.value.diagnostics[0].code == "E0934"


@pytest.mark.parametrize(
    ("forward", "code"),
    [
        ("forward(x: [B], y: [N] = 0) -> [B]", "E0610"), ("forward(x: [B] = 0) -> [B]", "E0610"),
        ("forward(x: [B], y: int[B] = 0.5) -> [B]", "E0604"), ("forward(x: [B], y: bool[B] = 0) -> [B]", "E0604"),
        ("forward(x: [B], y: [B] = true) -> [B]", "E0604"), ('forward(x: [B], y: [B] = "a") -> [B]', "E0604"),
        ("forward(x: [B], y: [B] = x) -> [B]", "E0201"),
    ],
)
def test_a_default_must_be_a_number_and_its_axes_known(forward: str, code: str) -> None:
    assert found(forward) == [code]


def test_a_default_may_be_computed_and_of_every_kind() -> None:
    assert found("forward(x: [B], y: int[B] = D - 1, z: bool[D] = false, u: [B, D] = 1 / D ^ 0.5) -> [B]") == []


def test_the_text_of_a_module_says_what_may_be_left_out() -> None:
    for module in (compiled("Decoder"), step(compiled("Decoder"))):
        text = print_module(module)
        assert "defaults=((types, 3), (bonus, 0.5))" in text.splitlines()[0]
        assert same(parse_module(text), module) and parse_module(text).defaults == module.defaults
        for wrong in ("(types, 3)", "((types, a),)", "3", "((1, 2),)"):
            with pytest.raises(WeftError) as caught:
                parse_module(text.replace("((types, 3), (bonus, 0.5))", wrong))
            assert caught.value.diagnostics[0].code == "E0802"
    assert problems(replace(compiled("Decoder"), defaults=(("other", 3), ("types", 0.5))))
