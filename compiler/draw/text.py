"""How wide a line of text is, without a font: the advance widths of Helvetica, which Arial shares."""

from __future__ import annotations

_WIDTHS = dict(
    zip(
        " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "abcdefghijklmnopqrstuvwxyz",
        (
            278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 278, 278, 584, 584, 584,
            556, 1015, 278, 278, 278, 469, 556, 333, 334, 260, 334, 584,
            667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722,
            667, 944, 667, 667, 611,
            556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556,
            500, 722, 500, 500, 500,
        ),
        strict=True,
    )
)  # fmt: skip
_OTHER = 584
_BOLD = 1.07


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of `text` in pixels at a font size in pixels."""
    total = sum(_WIDTHS.get(c, 556 if c.isdigit() else _OTHER) for c in text)
    return total * size / 1000 * (_BOLD if bold else 1.0)


def shortened(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
