"""Exports in ONNX Runtime: whole rows, steps with remembered states, and padding, against the float64 reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import weft
from numpy.typing import NDArray
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.module import Module
from weft.compiler.stream import rows, step
from weft.compiler.tolerance import judge, scales
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.session import Session, check_files

Tokens = NDArray[np.int64]
SIZES = "\n  V = 31\n  D = 16\n  H = 4\n  layers = 2\n"
SPEC = f"""
use models.llama: Llama3
use models.gpt2: GPT2
use models.mistral: Mistral
use models.mixtral: Mixtral
use models.rwkv: RWKV
use models.bert: Bert
use nn: Embedding, RMSNorm, identity
use attention: Attention, window
use position: ALiBi, SinusoidalPositions
model Llama = Llama3 with {{{SIZES}  F = 24
  G = 2
}}
model Tied = Llama with {{ tied = true }}
model Windowed = Mistral with {{{SIZES}  F = 24
  G = 2
  blocks.attn.mask = window(width = 4)
}}
model Experts = Mixtral with {{{SIZES}  F = 24
  G = 2
  blocks.mlp.E = 4
}}
model Gpt = GPT2 with {{{SIZES}}}
model Recurrent = RWKV with {{{SIZES}  F = 24
}}
model Encoder = Bert with {{{SIZES}}}
model Alibi(V: dim = 31, D: dim = 16, H: dim = 4, G: dim = 2) {{
  stream T as S
  embed = Embedding(V, D)
  position = SinusoidalPositions(D)
  blocks = repeat 2 as i {{
    norm = RMSNorm(D)
    attn = if i == 0 {{ Attention(D, H, G, bias = ALiBi(G)) }} else {{ Attention(D, H, G) }}
    forward(x) {{ x + attn(norm(x)) }}
  }}
  forward(tokens: int[B, T]) -> [B, T, V] {{ tokens |> embed |> position |> blocks |> embed.logits }}
}}
"""
DECODERS = ("Llama", "Tied", "Windowed", "Experts", "Gpt", "Recurrent", "Alibi", "Latent")


class Bench:
    """A model of the spec, its export loaded, and the exact logits to hold it against."""

    def __init__(self, name: str, folder: Path, form: str = "rows") -> None:
        if name == "Latent":
            program = weft.load(Path(weft.__file__).parent / "examples" / "new_attention.llm")
        else:
            program = load_source(Source("session.llm", SPEC))
        self.module: Module = weft.compile(program, name)
        self.weights = random_weights(self.module)
        derived = step(self.module, rows=form == "rows") if self.module.stream else rows(self.module)
        self.folder = to_onnx(derived, self.weights, folder)
        self.session = Session(self.folder, threads=1)

    def tokens(self, batch: int = 2, length: int = 11) -> Tokens:
        return np.random.default_rng(5).integers(0, 31, (batch, length))

    def check(self, found: NDArray, tokens: Tokens) -> None:
        inputs = {self.module.main.inputs[0][0]: tokens}
        exact = run(self.module, self.weights, inputs).values[0]
        verdict = judge(found, exact, *scales(self.module, self.weights, inputs)[0])
        assert verdict.accepted, str(verdict)

    def decoded(self, tokens: Tokens, mask: NDArray, cuts: Sequence[int]) -> NDArray:
        """Logits of consecutive steps of the given lengths."""
        states, parts, start = self.session.start(len(tokens)), [], 0
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        for length in cuts:
            place = slice(start, start + length)
            start += length
            logits, states = self.session.step(tokens[:, place], states, mask[:, :start], positions[:, place])
            parts.append(logits)
        return np.concatenate(parts, axis=1)


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(request.param, tmp_path_factory.mktemp("export") / "out")


@pytest.mark.parametrize("bench", [*DECODERS, "Encoder"], indirect=True)
class TestEveryModel:
    def test_whole_rows_give_the_exact_logits(self, bench: Bench) -> None:
        bench.check(bench.session.logits(bench.tokens()), bench.tokens())

    def test_steps_of_any_length_give_the_same_logits(self, bench: Bench) -> None:
        assert bench.session.has_steps == bool(bench.module.stream)
        if not bench.module.stream:
            return
        tokens = bench.tokens()
        for cuts in ((1,) * 11, (4, 1, 6), (10, 1)):
            bench.check(bench.decoded(tokens, np.ones_like(tokens), cuts), tokens)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_a_padded_row_equals_the_row_alone(self, bench: Bench, side: str) -> None:
        tokens, short = bench.tokens(), 7
        place = slice(11 - short, 11) if side == "left" else slice(0, short)
        padded, mask = tokens.copy(), np.ones_like(tokens)
        padded[1], mask[1] = 3, 0
        padded[1, place], mask[1, place] = tokens[1, :short], 1
        found = [bench.session.logits(padded, mask)]
        if bench.module.stream:
            found.append(bench.decoded(padded, mask, (3, 6, 2)))
        for logits in found:
            assert np.isfinite(logits).all()
            bench.check(logits[1:, place], tokens[1:, :short])
            bench.check(logits[:1], tokens[:1])

    def test_onnx_runtime_has_nothing_to_complain_about(self, bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
        capfd.readouterr()
        Session(bench.folder, threads=1).logits(bench.tokens())
        captured = capfd.readouterr()
        assert captured.err == captured.out == ""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench("Llama", tmp_path_factory.mktemp("export") / "out")


@pytest.mark.parametrize("name", ["Llama", "Windowed", "Recurrent"])
def test_the_step_form_without_rows_runs_too(name: str, tmp_path: Path) -> None:
    bench = Bench(name, tmp_path / "out", form="step")
    kinds = {s["kind"] for s in bench.session.manifest["states"]}
    assert kinds == {"Llama": {"grow"}, "Windowed": {"ring"}, "Recurrent": {"carry", "delay"}}[name]
    tokens = bench.tokens()
    bench.check(bench.decoded(tokens, np.ones_like(tokens), (3, 1, 1, 6)), tokens)


def test_without_padding_mask_and_positions_may_be_left_out(llama: Bench) -> None:
    tokens, states, parts = llama.tokens(), llama.session.start(2), []
    for place in (slice(0, 4), slice(4, 5), slice(5, 11)):
        logits, states = llama.session.step(tokens[:, place], states)
        parts.append(logits)
    llama.check(np.concatenate(parts, axis=1), tokens)


def test_a_step_does_not_change_the_states_it_was_given(llama: Bench) -> None:
    tokens = llama.tokens()
    _, states = llama.session.step(tokens[:, :4], llama.session.start(2))
    first, _ = llama.session.step(tokens[:, 4:], states)
    second, _ = llama.session.step(tokens[:, 4:], states)
    np.testing.assert_array_equal(first, second)


def test_states_can_be_reordered_for_a_search(llama: Bench) -> None:
    tokens = llama.tokens()
    _, states = llama.session.step(tokens[:, :4], llama.session.start(2))
    swapped = llama.session.reorder(states, [1, 0, 0])
    logits, _ = llama.session.step(tokens[[1, 0, 0], 4:], swapped)
    expected, _ = llama.session.step(tokens[:, 4:], states)
    np.testing.assert_allclose(logits, expected[[1, 0, 0]], rtol=1e-5, atol=1e-6)


def test_the_session_tells_what_it_runs(llama: Bench) -> None:
    assert llama.session.vocabulary == 31
    assert llama.session.context is None
    assert llama.session.tokenizer is None
    assert llama.session.device in ("cpu", "cuda")


# ------------------------------------------------------------------ wrong inputs, damaged folders


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[]], [[[1]]]])
def test_tokens_of_another_shape_are_refused(llama: Bench, tokens: list) -> None:
    with pytest.raises(WeftError, match="E0934"):
        llama.session.logits(tokens)


def test_a_mask_of_another_length_is_refused(llama: Bench) -> None:
    with pytest.raises(WeftError, match="E0934"):
        llama.session.logits([[1, 2, 3]], [[1, 1]])


def test_a_mask_shorter_than_the_past_is_refused(llama: Bench) -> None:
    _, states = llama.session.step([[1, 2, 3]], llama.session.start(1))
    with pytest.raises(WeftError, match="E0934"):
        llama.session.step([[1]], states, [[1, 1]])


def test_a_model_that_takes_something_else_than_tokens_is_refused(tmp_path: Path) -> None:
    text = "model Scale(D: dim = 4) {\n  forward(x: [B, D]) -> [B, D] { 2.0 * x }\n}\n"
    module = weft.compile(load_source(Source("scale.llm", text)), "Scale")
    with pytest.raises(WeftError, match="E0933"):
        Session(to_onnx(module, {}, tmp_path / "out"))


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match="E0933"):
        Session(tmp_path)


@pytest.mark.parametrize("damage", ["manifest", "format", "missing", "short"])
def test_a_damaged_export_is_refused(llama: Bench, damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in llama.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if damage == "manifest":
        (folder / "weft.json").write_text("{")
    elif damage == "format":
        manifest = json.loads((folder / "weft.json").read_text())
        (folder / "weft.json").write_text(json.dumps({**manifest, "format": 99}))
    elif damage == "missing":
        (folder / "model.onnx.data").unlink()
    else:
        (folder / "model.onnx.data").write_bytes((folder / "model.onnx.data").read_bytes()[:-4])
    with pytest.raises(WeftError, match="E0933"):
        Session(folder)


def test_a_flipped_bit_is_found_by_the_hash(llama: Bench, tmp_path: Path) -> None:
    check_files(llama.folder)
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in llama.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = bytearray((folder / "model.onnx.data").read_bytes())
    content[1000] ^= 1
    (folder / "model.onnx.data").write_bytes(bytes(content))
    with pytest.raises(WeftError, match="E0933"):
        check_files(folder)
