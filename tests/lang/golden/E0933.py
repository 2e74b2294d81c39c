"""A folder without a manifest."""

from weft.runtime.session import Session


def trigger() -> None:
    Session("documents")
