"""A package that nobody has installed."""

from weft.runtime.packages import package


def trigger() -> None:
    package("no_such_package.part", "chat", "renders chat templates")
