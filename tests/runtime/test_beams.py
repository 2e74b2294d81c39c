"""Texts of whole batches, drawn and searched for with beams, against `transformers` on the same random checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from weft.cli import main
from weft.lang.diagnostics import WeftError
from weft.runtime.decoding.settings import Settings
from weft.runtime.sampling import Sampling
from weft.runtime.session import Session

transformers = pytest.importorskip("transformers")
V, LONG = 60, 14


class Pair:
    """A model of `transformers` and the session of its export."""

    def __init__(self, folder: Path, kind: str) -> None:
        torch.manual_seed(3)
        if kind == "Llama":
            config = transformers.LlamaConfig(
                vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, bos_token_id=1, eos_token_id=None, pad_token_id=0,
            )
            self.theirs: Any = transformers.LlamaForCausalLM(config).eval()
        else:
            config = transformers.T5Config(
                vocab_size=V, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=1,
                eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
            )
            self.theirs = transformers.T5ForConditionalGeneration(config).eval()
        for name, parameter in self.theirs.named_parameters():
            if parameter.ndim == 2 and "relative" not in name:
                torch.nn.init.normal_(parameter, std=2.5 * parameter.shape[1] ** -0.5)
        self.theirs.save_pretrained(folder / "hf")
        assert main(["import", str(folder / "hf"), "--out", str(folder / "run"), "--tokenizer", "none"]) == 0
        assert main(["export", str(folder / "run"), "--to", "onnx"]) == 0
        self.session = Session(folder / "run" / "onnx", threads=1, providers=["CPUExecutionProvider"])
        self.kind = kind

    def searched(self, prompt: list[int], ends: list[int], **how: Any) -> tuple[list[int], float]:
        """The tokens and the score of the text that `transformers` finds after one prompt."""
        ids = torch.tensor([prompt])
        given = {"attention_mask": torch.ones_like(ids)}
        found = self.theirs.generate(
            ids, max_new_tokens=LONG, eos_token_id=ends, pad_token_id=0, do_sample=False, early_stopping=False,
            return_dict_in_generate=True, output_scores=True, **given, **how,
        )
        tokens = found.sequences[0, 1 if self.kind == "T5" else len(prompt) :].tolist()
        place = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        return tokens[:place], float(found.sequences_scores[0]) if "sequences_scores" in found else 0.0

    def ours(self, prompts: list[list[int]], settings: Settings) -> list[Any]:
        if self.kind == "T5":
            return self.session.generate([[1]] * len(prompts), settings, sources=prompts)
        return self.session.generate(prompts, settings)


@pytest.fixture(scope="module", params=["Llama", "T5"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp(request.param), request.param)


def prompts(*lengths: int) -> list[list[int]]:
    return [np.random.default_rng((3, n)).integers(3, V, n).tolist() for n in lengths]


# Many end tokens, so that texts of a random model end early and the length penalty matters.
@pytest.mark.parametrize("ends", [[2], list(range(20, 32))], ids=["one end", "many ends"])
@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 0.0), (4, 2.5), (3, -1.0)])
def test_a_batch_of_searches_finds_what_each_finds_alone_in_transformers(
    pair: Pair, ends: list[int], beams: int, penalty: float
) -> None:
    texts = prompts(5, 9, 2)
    found = pair.ours(texts, Settings(beams=beams, length_penalty=penalty, maximum=LONG, end=ends))
    for text, result in zip(texts, found, strict=True):
        tokens, score = pair.searched(text, ends, num_beams=beams, length_penalty=penalty)
        assert list(result.tokens) == tokens
        assert result.score == pytest.approx(score, rel=1e-4, abs=1e-4)
        assert result.finish == ("length" if len(tokens) == LONG else "end")


def test_beams_take_a_repetition_penalty(pair: Pair) -> None:
    how = Settings(Sampling(repetition_penalty=1.4), beams=3, maximum=LONG, end=[2])
    (text,) = prompts(6)
    tokens, _ = pair.searched(text, [2], num_beams=3, repetition_penalty=1.4)
    # The text of a decoder with an encoder is what it writes itself, as it is in `transformers`.
    assert list(pair.ours([text], how)[0].tokens) == tokens


@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_texts_of_a_batch_are_those_of_transformers(pair: Pair, penalty: float) -> None:
    texts, ends = prompts(5, 9, 2, 7), list(range(20, 26))
    found = pair.ours(texts, Settings(Sampling(repetition_penalty=penalty), maximum=LONG, end=ends))
    for text, result in zip(texts, found, strict=True):
        assert list(result.tokens) == pair.searched(text, ends, repetition_penalty=penalty)[0]
    assert len({len(result.tokens) for result in found}) > 1, "the rows ended at different times"


def test_log_probabilities_of_a_search_sum_to_its_score(pair: Pair) -> None:
    (result,) = pair.ours(prompts(5), Settings(beams=3, maximum=6, logprobs=0, length_penalty=2.0))
    assert sum(choice.logprob for choice in result.choices) / 6**2 == pytest.approx(result.score, abs=1e-6)


def test_a_search_draws_nothing_and_takes_no_draft(pair: Pair) -> None:
    with pytest.raises(WeftError, match="E0980"):
        Settings(Sampling(1.0), beams=2)
    with pytest.raises(WeftError, match="E0980"):
        Settings(beams=2, ngram=2)
    with pytest.raises(WeftError, match="E0980"):
        Settings(beams=2, logprobs=3)
    with pytest.raises(WeftError, match="E0980"):
        pair.session.generate([[1]], Settings(beams=2), sources=[[1]] * pair.session.has_encoder, draft=pair.session)
