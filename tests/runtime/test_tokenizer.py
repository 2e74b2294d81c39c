"""Tokenizers lose nothing, are the same every time, and give text out as it becomes whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weft.lang.diagnostics import WeftError
from weft.runtime.tokenizer import END, TextStream, Tokenizer

TEXTS = [
    "the warp and the weft " * 20,
    "über den Kettfäden läuft der Schuss 🧵 " * 20,
    "for i in range(10):\n    print(i)\n" * 20,
]
TOKENIZER = Tokenizer.train(TEXTS, 310)


def test_the_vocabulary_has_the_size_that_was_asked_for_and_an_end() -> None:
    assert TOKENIZER.size == 310
    assert TOKENIZER.decode([TOKENIZER.end]) == END


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=80))
def test_every_text_survives(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_a_text_cannot_say_that_it_ends() -> None:
    ids = TOKENIZER.encode(f"before {END} after")
    assert TOKENIZER.end not in ids
    assert TOKENIZER.decode(ids) == f"before {END} after"
    assert TOKENIZER.end not in TOKENIZER.encode_all([END])[0]


@given(st.lists(st.integers(0, 309), max_size=40))
def test_text_as_it_comes_is_the_text_at_once(ids: list[int]) -> None:
    stream = TextStream(TOKENIZER)
    assert "".join(stream.push(i) for i in ids) + stream.finish() == TOKENIZER.decode(ids)


def test_half_a_character_is_not_shown() -> None:
    ids = TOKENIZER.encode("漢")
    assert len(ids) == 3, "its bytes were never seen together"
    stream = TextStream(TOKENIZER)
    assert [stream.push(i) for i in ids] == ["", "", "漢"]
    stream.push(ids[0])
    assert stream.finish() == "\ufffd"


def test_training_is_the_same_in_every_process(tmp_path: Path) -> None:
    script = f"from weft.runtime.tokenizer import Tokenizer; print(Tokenizer.train({TEXTS!r}, 310).text)"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert hashlib.sha256(other.stdout.strip()).digest() == hashlib.sha256(TOKENIZER.text.strip().encode()).digest()


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.text == TOKENIZER.text and again.end == TOKENIZER.end
    assert again.encode(f"{END} x") == TOKENIZER.encode(f"{END} x"), "what looks special stays text after loading too"


@pytest.mark.parametrize("content", ["", "{}", "[1, 2", '{"version": "1.0"}', "\x00"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(WeftError) as caught:
        Tokenizer.load(tmp_path / "tokenizer.json")
    assert caught.value.diagnostics[0].code == "E0947"
