"""A template that reaches for the inside of Python."""

from weft.runtime.chat import render


def trigger() -> None:
    render("{{ messages.__class__ }}", [], {})
