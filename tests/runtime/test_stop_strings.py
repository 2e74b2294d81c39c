"""Stop strings: a text ends before the first one, wherever its pieces are cut, and none of it is said too early."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from weft.runtime.decoding.stop import StopStrings


def said(pieces: Sequence[str], stops: Sequence[str]) -> tuple[str, list[str], str | None]:
    """The whole text, what was said piece by piece, and the string that ended it."""
    stop, parts = StopStrings(stops), []
    for piece in pieces:
        parts.append(stop.push(piece))
        if stop.found is not None:
            break
    else:
        parts.append(stop.finish())
    return "".join(parts), parts, stop.found


def test_a_string_across_pieces_is_cut_exactly() -> None:
    assert said(["ab", "cE", "N", "D!"], ["END"]) == ("abc", ["ab", "c", "", ""], "END")


def test_what_only_looked_like_one_is_said_later() -> None:
    assert said(["aE", "N", "Nx"], ["END"]) == ("aENNx", ["a", "", "ENNx", ""], None)


def test_the_beginning_of_one_at_the_end_of_a_text_is_text() -> None:
    assert said(["so E", "N"], ["END"])[0] == "so EN"


def test_the_one_that_is_complete_first_ends_the_text() -> None:
    assert said(["xabc"], ["abc", "b"])[::2] == ("xa", "b")
    assert said(["xab"], ["b", "ab"])[::2] == ("x", "ab"), "of two the longest"


def test_a_string_that_repeats_itself_is_found() -> None:
    assert said(["aa", "ab"], ["aab"])[0] == "a"


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_the_pieces_do_not_matter(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, _, found = said(pieces, stops)
    assert (whole, found) == said(list(text), stops)[::2]
    assert not any(stop in whole for stop in stops)
    assert text.startswith(whole) and (found is None) == (whole == text or not stops)
