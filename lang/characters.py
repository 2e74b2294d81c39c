"""Characters that are no part of the language, named in words, with what was probably meant."""

from __future__ import annotations

import unicodedata

_MEANT = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": "*", "·": "*", "∗": "*", "÷": "/", "∕": "/",
    "→": "->", "⟶": "->", "⇒": "->", "≤": "<=", "≥": ">=", "≠": "!=", "∧": "and", "∨": "or", "¬": "not",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": '"', "’": '"', "…": "..", "‥": "..",
    "\u00a0": " ", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
    "²": " ^ 2", "³": " ^ 3", "√": "sqrt", "∑": "sum", "μ": "mean",
}  # fmt: skip

_LETTERS = dict(
    zip(
        "АВЕЅЗІЈКМНОРСТУХаеіјорсухѕԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧονι",
        "ABES3IJKMHOPCTYXaeijopcyxsdhqwABEZHIKMNOPTYXovi",
        strict=True,
    )
)

_ASCII = {
    ";": ("one statement stands on one line; `;` is not needed", None),
    "'": ('strings are written with `"`', '"'),
    "`": ('strings are written with `"`', '"'),
    "&": ("write `and`", "and"),
    "&&": ("write `and`", "and"),
    "|": ("write `or`, or `|>` for a pipe", None),
    "||": ("write `or`", "or"),
    "!": ("write `not`", "not"),
    "@": ("write `dot(a, b, K)` for a product over an axis", None),
    "$": ("names are made of the letters a-z and A-Z, digits and `_`", None),
    "?": ("a choice is written `if c { a } else { b }`", None),
    "~": ("write `not`", None),
    "\\": ("a line goes on when it ends or the next begins with an operator, or inside ( )", None),
}


def described(character: str) -> str:
    """`` `−` (U+2212 MINUS SIGN) ``; a character that cannot be seen is only named."""
    name = unicodedata.name(character, "")
    number = f"U+{ord(character):04X}"
    if not character.isprintable() or unicodedata.category(character)[0] in "CMZ":
        return f"the character {number}{' ' + name if name else ''}"
    return f"`{character}` ({number}{' ' + name if name else ''})"


def advice_for(text: str) -> tuple[tuple[str, ...], str | None]:
    """What to write in its place: `(help lines, replacement)`."""
    if text in _ASCII:
        advice, replacement = _ASCII[text]
        return (advice,), replacement
    meant = _MEANT.get(text)
    if meant is None:
        meant = _LETTERS.get(text)
    if meant is None:
        plain = unicodedata.normalize("NFKC", text)
        meant = plain if plain != text and plain.isascii() and plain.isprintable() else None
    if meant is None:
        return ("only strings and comments may have characters beyond ASCII",) if not text.isascii() else (), None
    if meant.strip() == "":
        return ("it looks like a space but is not one",) if meant else ("remove this invisible character",), meant
    return (f"it looks like `{meant.strip()}`: write that",), meant
