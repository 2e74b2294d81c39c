"""Exports whose past and present caches are one buffer: padding, steps, growth and going back, against exact logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shared_export import LONGEST, Shared, V
from weft.lang.diagnostics import WeftError
from weft.runtime.session import Session


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(tmp_path_factory.mktemp("shared") / "out")


@pytest.fixture(scope="module")
def session(model: Shared) -> Session:
    return Session(model.folder, threads=1, providers=["CPUExecutionProvider"])


def drawn(*lengths: int) -> list[list[int]]:
    return [np.random.default_rng((7, n, i)).integers(0, V, n).tolist() for i, n in enumerate(lengths)]


def near(found: NDArray, wanted: NDArray) -> None:
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_whole_rows_give_the_exact_logits(model: Shared, session: Session) -> None:
    rows = drawn(9, 9)
    near(session.logits(rows), np.stack([model.exact(row) for row in rows]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_equals_the_row_alone(model: Shared, session: Session, side: str) -> None:
    long, short = drawn(9, 5)
    padded = [0] * 4 + short if side == "left" else short + [0] * 4
    mask = [1] * 9, [0] * 4 + [1] * 5 if side == "left" else [1] * 5 + [0] * 4
    logits = session.logits([long, padded], mask)
    near(logits[0], model.exact(long))
    near(logits[1, 4:] if side == "left" else logits[1, :5], model.exact(short))


@pytest.mark.parametrize("cuts", [(1,) * 12, (4, 1, 7), (11, 1)])
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_of_any_length_give_the_same_logits(
    model: Shared, session: Session, cuts: Sequence[int], rows: int
) -> None:
    tokens, states, parts, start = np.array(drawn(*[12] * rows)), session.start(rows), [], 0
    for length in cuts:
        logits, states = session.step(tokens[:, start : start + length], states)
        parts.append(logits)
        start += length
    near(np.concatenate(parts, 1), np.stack([model.exact(row) for row in tokens.tolist()]))


def test_a_step_writes_into_the_caches_that_it_was_given(session: Session) -> None:
    _, states = session.step(drawn(3), session.start(1))
    _, after = session.step([[5]], states)
    assert after["attn.key"].data_ptr() == states["attn.key"].data_ptr()
    assert after["attn.key"].shape()[2] == 64, "room for more than it holds"


def test_caches_grow_by_doubling_up_to_the_context(model: Shared, session: Session) -> None:
    (row,) = drawn(LONGEST)
    texts = session.open(1)
    sizes, logits = [], [texts.read([row[:60]])[0]]
    for token in row[60:]:
        logits.append(texts.read([[token]])[0])
        sizes.append(texts._states["attn.value"].shape()[2])
    assert sorted(set(sizes)) == [120, LONGEST]
    near(np.concatenate(logits), model.exact(row)[59:])


# ------------------------------------------------------------------ rows of text


def test_rows_of_different_lengths_are_read_and_gone_on_from(model: Shared, session: Session) -> None:
    rows = drawn(3, 8, 1)
    texts = session.open(3)
    near(texts.read(rows)[:, -1], np.stack([model.exact(row)[-1] for row in rows]))
    for token in (4, 9, 2):
        rows = [[*row, token + i] for i, row in enumerate(rows)]
        near(texts.read([row[-1:] for row in rows])[:, -1], np.stack([model.exact(row)[-1] for row in rows]))
    texts.keep([2, 0])
    rows = [[*rows[2], 3], [*rows[0], 3]]
    near(texts.read([[3], [3]])[:, -1], np.stack([model.exact(row)[-1] for row in rows]))


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 0, 2), (2, 2, 2), (1, 0, 1), (0, 1, 2), (2, 0), (0, 0, 1, 2, 2)])
def test_rows_change_places(model: Shared, session: Session, order: Sequence[int]) -> None:
    rows, texts = drawn(4, 9, 2), session.open(3)
    texts.read(rows)
    for _ in range(2):
        texts.keep(order)
        rows = [[*rows[row], place] for place, row in enumerate(order)]
        near(texts.read([row[-1:] for row in rows])[:, -1], np.stack([model.exact(row)[-1] for row in rows]))
        order = range(len(rows))[::-1]


def test_the_last_scores_of_each_row_are_its_own(model: Shared, session: Session) -> None:
    rows = drawn(3, 8)
    logits = session.open(2).read(rows, 5)
    near(logits[1], model.exact(rows[1])[3:])
    near(logits[0, 2:], model.exact(rows[0]))


def test_one_row_is_read_in_pieces_and_cut_back(model: Shared, session: Session) -> None:
    (row,) = drawn(20)
    texts = session.open(1)
    texts.read([row[:6]])
    near(texts.read([row[6:13]], 7)[0], model.exact(row[:13])[6:])
    texts.mark()
    texts.read([[1, 2, 3, 4]], 4)
    texts.cut(2)
    near(texts.read([[9, 8]], 2)[0], model.exact([*row[:13], 1, 2, 9, 8])[-2:])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_reading_and_taking_back_gives_the_exact_logits(
    model: Shared, session: Session, data: st.DataObject
) -> None:
    token = st.integers(0, V - 1)
    text, texts = data.draw(st.lists(token, min_size=1, max_size=40)), session.open(1)
    near(texts.read([text])[0, -1], model.exact(text)[-1])
    for _ in range(data.draw(st.integers(1, 4))):
        new = data.draw(st.lists(token, min_size=1, max_size=30))
        count = data.draw(st.integers(0, len(new)))
        texts.mark()
        near(texts.read([new], len(new))[0], model.exact([*text, *new])[len(text) :])
        texts.cut(count)
        text = [*text, *new[:count]]
    last = data.draw(token)
    near(texts.read([[last]])[0, -1], model.exact([*text, last])[-1])


def test_a_long_row_is_read_in_chunks(tmp_path: Path) -> None:
    model = Shared(tmp_path / "out", chunk=8)
    session = Session(model.folder, threads=1, providers=["CPUExecutionProvider"])
    (row,) = drawn(29)
    near(session.logits([row])[0], model.exact(row))
    texts = session.open(1)
    near(texts.read([row[:3]])[0, -1], model.exact(row[:3])[-1])
    near(texts.read([row[3:]], 12)[0], model.exact(row)[-12:])


def test_long_steps_use_the_other_model(tmp_path: Path) -> None:
    model = Shared(tmp_path / "out", prefill=6)
    session = Session(model.folder, threads=1, providers=["CPUExecutionProvider"])
    (row,) = drawn(12)
    texts = session.open(1)
    texts.read([row[:5]])
    assert session._long is None
    near(texts.read([row[5:11]])[0, -1], model.exact(row[:11])[-1])
    assert session._long is not None
    near(texts.read([row[11:]])[0, -1], model.exact(row)[-1])


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("tokens", "mask", "before"),
    [
        ([[1, 2, 3]], [[0, 1, 1]], None),
        ([[1, 2]], [[1, 1, 1]], None),
        ([[1, 2], [3, 4]], [[1, 1, 1], [1, 1, 0]], [[5], [6]]),
    ],
    ids=["a gap", "more than is given", "rows that go on by different lengths"],
)
def test_rows_that_shared_caches_cannot_hold_are_refused(
    session: Session, tokens: list, mask: list, before: list | None
) -> None:
    states = session.start(len(tokens))
    if before is not None:
        _, states = session.step(before, states)
    with pytest.raises(WeftError, match="E0934"):
        session.step(tokens, states, mask)
