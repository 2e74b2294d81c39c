"""A rule that is none."""

from weft.compiler.catalogue import find_rule
from weft.compiler.rules.trace import rule


@rule(x="[..]", y="[..]")
def factor() -> object:
    return (lambda x, y: x * y + x), (lambda x, y: x * (y + 1.0))


def trigger() -> None:
    find_rule("faktor", (factor,))
