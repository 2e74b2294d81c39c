"""Texts that a session writes: batches, taking back, streaming, scores and embeddings, for every kind of state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from shared_export import Shared
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.reference import run
from weft.compiler.emit.torch import to_torch
from weft.compiler.ir.module import Module
from weft.compiler.stream import rows, step
from weft.compiler.targets import target
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.decoding.settings import Settings
from weft.runtime.engines import OnnxCached, TorchCached, TorchFull
from weft.runtime.generate import read_prompt, results, stream_texts
from weft.runtime.model import build
from weft.runtime.sampling import Sampling, log_chances
from weft.runtime.session import Session
from weft.runtime.tokenizer import Tokenizer

V = 290
SIZES = f"\n  V = {V}\n  D = 16\n  H = 4\n  layers = 2\n"
SPEC = f"""
use models.llama: Llama3
use models.mistral: Mistral
use models.rwkv: RWKV
use models.bert: Bert
use models.jamba: Jamba
use attention: window
use nn: Embedding
model Growing = Llama3 with {{{SIZES}  F = 24
  G = 2
}}
model Windowed = Mistral with {{{SIZES}  F = 24
  G = 2
  blocks.attn.mask = window(width = 4)
}}
model Recurrent = RWKV with {{{SIZES}  F = 24
}}
model Pooled(V: dim = {V}, D: dim = 16) {{
  embed = Embedding(V, D)
  forward(tokens: int[B, T]) -> [B, D] {{ mean(embed(tokens), T) }}
}}
model Hybrid = Jamba with {{{SIZES}  F = 24
  G = 2
  N = 4
  E = 2
  R = 4
  attn_every = 2
  attn_from = 1
}}
model Encoder = Bert with {{{SIZES}}}
"""
KINDS = ("Growing", "Windowed", "Recurrent", "shared", "Growing cpu", "Recurrent cpu", "Hybrid cpu")
TOKENIZER = Tokenizer.train(["the warp and the weft run over and under one another " * 20], V)
CPU: dict[str, Any] = {"threads": 1, "providers": ["CPUExecutionProvider"]}


def module(name: str) -> Module:
    return weft.compile(load_source(Source("texts.llm", SPEC)), name)


def exported(name: str, folder: Path, form: str = "rows", tokenizer: bool = False) -> tuple[Session, dict[str, Any]]:
    """A session of a model with sharp random weights, and these weights."""
    model = module(name)
    full = build(to_torch(model), model.name, folder / "full.py")
    full.initialise(3)  # type: ignore[operator]
    weights = {path: 4 * p.detach().numpy() for path, p in full.named_parameters()}
    derived = step(model, rows=form != "step") if model.stream else rows(model)
    derived = target(derived, "cpu") if form == "cpu" else derived
    TOKENIZER.save(folder / "tokenizer.json")
    given = folder / "tokenizer.json" if tokenizer else None
    return Session(to_onnx(derived, weights, folder / "onnx", tokenizer=given), **CPU), weights


@pytest.fixture(scope="module", params=KINDS)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("texts")
    if request.param == "shared":
        return Session(Shared(folder / "out", sharp=2.0).folder, **CPU)
    name, _, form = request.param.partition(" ")
    return exported(name, folder, form or "rows")[0]


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """One with a tokenizer."""
    return exported("Growing", tmp_path_factory.mktemp("writing"), tokenizer=True)[0]


def drawn(session: Session, *lengths: int) -> list[list[int]]:
    return [np.random.default_rng(n).integers(0, session.vocabulary or 0, n).tolist() for n in lengths]


# ------------------------------------------------------------------ batches


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.2, 12, 0.9, 8, 0.02, 1.2)])
def test_a_text_does_not_depend_on_the_others_of_its_batch(session: Session, sampling: Sampling) -> None:
    prompts = drawn(session, 5, 1, 9, 3)
    how = Settings(sampling, maximum=15, end=range(0, session.vocabulary or 0, 9))
    together = session.generate(prompts, how)
    alone = [session.generate([prompt], how)[0] for prompt in prompts]
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    assert [r.finish for r in together] == [r.finish for r in alone]


def test_every_row_may_have_a_seed(writing: Session) -> None:
    (prompt,) = drawn(writing, 4)
    how = Settings(Sampling(1.0), maximum=8, seeds=(5, 6, 5))
    texts = [result.tokens for result in writing.generate([prompt] * 3, how)]
    assert texts[0] == texts[2] != texts[1]
    assert texts[1] == writing.generate([prompt], Settings(Sampling(1.0, seed=6), maximum=8))[0].tokens


def test_pieces_come_row_by_row_and_the_last_holds_the_result(writing: Session) -> None:
    pieces = list(writing.stream(drawn(writing, 3, 6), Settings(maximum=4)))
    assert [piece.row for piece in pieces] == [0, 1] * 4
    for row in (0, 1):
        own = [piece for piece in pieces if piece.row == row]
        assert [piece.result is not None for piece in own] == [False, False, False, True]
        assert own[-1].result is not None
        assert own[-1].result.tokens == tuple(token for piece in own for token in piece.tokens)


def test_rows_of_one_length_alone_where_the_export_says_so(tmp_path: Path) -> None:
    session, _ = exported("Growing", tmp_path, form="step")
    assert len(session.generate(drawn(session, 4, 4), Settings(maximum=3))) == 2
    with pytest.raises(WeftError, match="E0980"):
        session.generate(drawn(session, 4, 5), Settings(maximum=3))


# ------------------------------------------------------------------ taking back


def test_what_was_read_since_a_mark_can_be_taken_back(session: Session) -> None:
    (row,) = drawn(session, 24)
    texts, plain = session.open(1), session.open(1)
    texts.read([row[:7]])
    for length in (3, 1, 0, 4):  # some of it, then more on top of what is pending
        texts.mark()
        texts.read([row[7:12]], 5)
        texts.cut(length)
    found = texts.read([row[11:15]], 4)
    plain.read([row[:10]])
    wanted = session.open(1).read([[*row[:7], *row[7:10], row[7], *row[7:11], *row[11:15]]], 4)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, seed=2)])
def test_texts_are_the_same_with_tokens_looked_up(session: Session, sampling: Sampling) -> None:
    (part,) = drawn(session, 6)
    prompts = [part * 3, part * 2]
    plain = session.generate(prompts, Settings(sampling, maximum=20))
    looked = session.generate(prompts, Settings(sampling, maximum=20, ngram=2))
    assert [r.tokens for r in looked] == [r.tokens for r in plain]
    assert sum(r.proposed for r in looked) > 0


def test_a_session_drafts_for_another(session: Session) -> None:
    prompts = drawn(session, 5, 8)
    plain = session.generate(prompts, Settings(maximum=12))
    drafted = session.generate(prompts, Settings(maximum=12, ahead=3), draft=session)
    assert [r.tokens for r in drafted] == [r.tokens for r in plain]
    assert all(r.accepted == r.proposed == 8 for r in drafted), "11 tokens after the first: 4, 4 and 3 at a time"


# ------------------------------------------------------------------ log-probabilities


def test_scores_are_the_log_probabilities_of_the_logits(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weft.runtime.session.CHUNK", 4)
    texts = drawn(session, 11, 2)
    for text, found in zip(texts, session.score(texts), strict=True):
        wanted = log_chances(session.logits([text])[0])
        np.testing.assert_allclose(found, wanted[np.arange(len(text) - 1), text[1:]], atol=1e-4)
    with pytest.raises(WeftError, match="E0934"):
        session.score([[1]])


def test_chosen_tokens_have_the_log_probabilities_of_the_model_alone(writing: Session) -> None:
    (prompt,) = drawn(writing, 6)
    how = Settings(Sampling(0.7, top_k=5, seed=1, repetition_penalty=1.3), maximum=7, logprobs=3)
    (result,) = writing.generate([prompt], how)
    (scores,) = writing.score([[*prompt, *result.tokens]])
    assert [c.token for c in result.choices] == list(result.tokens)
    np.testing.assert_allclose([c.logprob for c in result.choices], scores[len(prompt) - 1 :], atol=1e-4)
    for choice in result.choices:
        values = [value for _, value in choice.likeliest]
        assert len(values) == 3 and values == sorted(values, reverse=True) and choice.logprob <= values[0] + 1e-9


# ------------------------------------------------------------------ text


def test_a_stop_string_cuts_the_text_and_not_the_tokens(writing: Session) -> None:
    prompt = list(TOKENIZER.encode("the weft"))
    (whole,) = writing.generate([prompt], Settings(Sampling(1.0, seed=4), maximum=40))
    assert whole.text == TOKENIZER.decode([*prompt[-1:], *whole.tokens])[len(TOKENIZER.decode(prompt[-1:])) :]
    stop = whole.text[9:12]
    place = whole.text.find(stop)
    said = []
    how = Settings(Sampling(1.0, seed=4), maximum=40, stop=(stop, "never there"))
    (cut,) = writing.generate([prompt], how, told=lambda piece: said.append(piece.text))
    assert cut.text == whole.text[:place] == "".join(said) and cut.finish == "stop"
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert stop in TOKENIZER.decode([*prompt[-1:], *cut.tokens])
    (searched,) = writing.generate([prompt], Settings(beams=2, maximum=20, stop=(" ",)))
    assert " " not in searched.text


def test_stop_strings_need_a_tokenizer(tmp_path: Path) -> None:
    session = Session(Shared(tmp_path / "out").folder, **CPU)
    with pytest.raises(WeftError, match="E0980"):
        session.generate([[1]], Settings(stop=("x",)))


def test_all_engines_do_all_of_it_alike(tmp_path: Path) -> None:
    session, weights = exported("Recurrent", tmp_path, tokenizer=True)
    import torch

    plain = module("Recurrent")
    full, cached = (build(to_torch(m), m.name, tmp_path / "m.py") for m in (plain, step(plain)))
    for model in (full, cached):
        model.load_state_dict({path: torch.tensor(array) for path, array in weights.items()})
    engines = [TorchFull(full), TorchCached(cached), OnnxCached(session)]
    for how in (
        Settings(Sampling(0.9, 20, 0.9, 7, 0.01, 1.2), maximum=12),
        Settings(beams=3, maximum=8, length_penalty=0.5),
        Settings(maximum=12, ngram=2),
    ):
        texts = []
        for engine in engines:
            prompts = [read_prompt(engine, TOKENIZER, text) for text in ("the weft", "over and under")]
            texts.append([r.text for r in results(stream_texts(engine, TOKENIZER, prompts, how))])
        assert texts[0] == texts[1] == texts[2]


# ------------------------------------------------------------------ embeddings, and what is refused


@pytest.mark.parametrize("name", ["Encoder", "Pooled"])
def test_an_encoder_embeds_texts_of_different_lengths(name: str, tmp_path: Path) -> None:
    session, weights = exported(name, tmp_path)
    texts = [[5, 9, 200, 7, 7, 1, 0], [8, 3, 250]]
    for text, found in zip(texts, session.embed(texts), strict=True):
        wanted = run(module(name), weights, {module(name).main.inputs[0][0]: np.array([text])}).values[0][0]
        assert found.shape == ((16,) if name == "Pooled" else wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    with pytest.raises(WeftError, match="E0980"):
        session.generate([[1]])


def test_a_model_that_writes_has_no_embeddings(writing: Session) -> None:
    with pytest.raises(WeftError, match="E0980"):
        writing.embed([[1, 2]])


@pytest.mark.parametrize(
    ("prompts", "settings"), [([], Settings()), ([[]], Settings()), ([[1]], Settings(seeds=(1, 2)))]
)
def test_prompts_that_do_not_fit_are_refused(writing: Session, prompts: Any, settings: Settings) -> None:
    with pytest.raises(WeftError, match="E0934"):
        writing.generate(prompts, settings)


def test_a_search_ends_texts_before_a_stop_string(writing: Session) -> None:
    prompt = list(TOKENIZER.encode("over"))
    (whole,) = writing.generate([prompt], Settings(beams=3, maximum=20))
    assert whole.text is not None
    stop = whole.text[5:7]
    (cut,) = writing.generate([prompt], Settings(beams=3, maximum=20, stop=(stop,)))
    assert cut.text is not None and stop not in cut.text
    assert cut.text != whole.text
