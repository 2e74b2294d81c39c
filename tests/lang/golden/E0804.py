"""A function that is not there cannot be inlined."""

from weft.compiler.ir.text import parse_module
from weft.compiler.passes.inline import Inline

TEXT = """module Demo (form=full, entry=forward)

instance Demo

function forward(x: [D:4]) -> (value: [D:4]) {
  return %x
}
"""


def trigger() -> None:
    Inline(("forwards",)).run(parse_module(TEXT))
