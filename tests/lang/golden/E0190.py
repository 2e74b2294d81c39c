"""A code that no message has."""

from weft.lang.explain import explain


def trigger() -> None:
    explain("E0199")
