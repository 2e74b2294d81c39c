"""Speculative decoding: drafts make a text no other, they only bring several tokens at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from weft.lang.diagnostics import WeftError
from weft.runtime.decoding.generation import results, stream
from weft.runtime.decoding.ngram import Lookup
from weft.runtime.decoding.settings import Settings
from weft.runtime.decoding.speculation import accept
from weft.runtime.decoding.texts import Apart, Texts
from weft.runtime.sampling import Chances, Sampling

MODEL = np.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
DRAFT = np.array([[0.2, 0.6, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7], [0.05, 0.9, 0.04, 0.01]])


class Chain:
    """A model of which the last token decides what comes: `table` [V, V] has the chances."""

    reads_source, context = False, None

    def __init__(self, table: np.ndarray) -> None:
        self.table, self.vocabulary, self.steps = np.log(table), len(table), 0

    def open(self, count: int, sources: Sequence[Sequence[int]] = ()) -> Texts:
        def read(text: tuple[int, ...], tokens: Sequence[int], scores: int) -> tuple[Any, tuple[int, ...]]:
            self.steps += 1
            return self.table[list(tokens)][-scores:], (*text, *tokens)

        return Apart(read, [()] * count)


def written(engine: Any, settings: Settings, prompt: Sequence[int] = (0,), draft: Any = None) -> Any:
    return results(stream(engine, [prompt], settings, draft=draft))[0]


# ------------------------------------------------------------------ the distribution


@pytest.mark.parametrize("row", range(4))
def test_what_is_accepted_or_replaced_has_the_chances_of_the_model(row: int) -> None:
    """Exactly: over a fine grid of both draws, for every token that the draft may have drawn."""
    ids, points = np.arange(4), (np.arange(200) + 0.5) / 200
    model, draft = Chances(ids, MODEL[row]), Chances(ids, DRAFT[row])
    found = np.zeros(4)
    for token in range(4):
        for point, other in itertools.product(points, points[::4]):
            found[accept(model, draft, token, 4, point, other)] += DRAFT[row][token] / (200 * 50)
    np.testing.assert_allclose(found, MODEL[row], atol=0.01)


@pytest.mark.parametrize("ahead", [1, 3])
def test_texts_have_the_distribution_of_the_model_alone(ahead: int) -> None:
    """Chi-square over all texts of three tokens, against the product of the model's chances."""
    draws, model, draft = 6000, Chain(MODEL), Chain(DRAFT)
    counts = np.zeros((4, 4, 4))
    for seed in range(draws):
        text = written(model, Settings(Sampling(1.0, seed=seed), maximum=3, ahead=ahead), draft=draft).tokens
        counts[text] += 1
    wanted = draws * np.einsum("a,ab,bc->abc", MODEL[0], MODEL, MODEL)
    statistic = ((counts - wanted) ** 2 / wanted).sum()
    assert statistic < 63 + 4 * np.sqrt(2 * 63), "four deviations of chi-square with 63 degrees of freedom"
    alone = draws * np.einsum("a,ab,bc->abc", DRAFT[0], DRAFT, DRAFT)
    assert ((counts - alone) ** 2 / alone).sum() > 1000, "the test can tell the model from the draft"


def test_settings_hold_for_the_draft_as_well() -> None:
    how = Sampling(0.7, top_k=2, seed=1)
    for seed in range(50):
        text = written(Chain(MODEL), Settings(Sampling(0.7, 2, seed=seed), maximum=8), draft=Chain(DRAFT)).tokens
        for before, token in itertools.pairwise((0, *text)):
            assert token in np.argsort(-MODEL[before], kind="stable")[: how.top_k]


# ------------------------------------------------------------------ the same text in fewer steps


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9, seed=5), Sampling(0.9, repetition_penalty=1.4, seed=3)])
def test_looking_up_changes_no_text(sampling: Sampling) -> None:
    model = Chain(MODEL)
    plain = written(model, Settings(sampling, maximum=60))
    steps, model.steps = model.steps, 0
    looked = written(model, Settings(sampling, maximum=60, ngram=3))
    assert looked.tokens == plain.tokens and looked.finish == "length"
    assert 0 < looked.accepted <= looked.proposed
    assert model.steps == steps - looked.accepted


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(repetition_penalty=1.5)])
def test_a_greedy_text_is_the_same_with_a_draft(sampling: Sampling) -> None:
    plain = written(Chain(MODEL), Settings(sampling, maximum=30))
    drafted = written(Chain(MODEL), Settings(sampling, maximum=30), draft=Chain(DRAFT))
    assert drafted.tokens == plain.tokens


def test_a_draft_that_is_the_model_is_always_right() -> None:
    model = Chain(MODEL)
    found = written(model, Settings(Sampling(1.0, seed=4), maximum=41, ahead=4), draft=Chain(MODEL))
    assert found.accepted == found.proposed == 32
    assert model.steps == 9, "the prompt, and eight steps of five tokens"


def test_an_end_token_within_a_proposal_ends_the_text() -> None:
    table = np.full((4, 4), 0.01) + 0.96 * np.eye(4)[[1, 2, 3, 0]]
    found = written(Chain(table), Settings(end=(3,), maximum=20), draft=Chain(table))
    assert found.tokens == (1, 2) and found.finish == "end"


def test_a_draft_with_other_tokens_is_refused() -> None:
    with pytest.raises(WeftError, match="E0981"):
        written(Chain(MODEL), Settings(), draft=Chain(np.eye(5) + 0.1))


def test_a_lookup_finds_what_followed_the_longest_run() -> None:
    lookup = Lookup(2)
    lookup.push([1, 2, 3, 9, 2, 4, 1, 2])
    assert lookup.draft(3) == [3, 9, 2], "after 1 2, though 2 alone stood later"
    lookup.push([7])
    assert lookup.draft(3) == []
    lookup.push([9])
    assert lookup.draft(9) == [2, 4, 1, 2, 7, 9]
