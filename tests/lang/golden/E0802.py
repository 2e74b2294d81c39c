"""IR text that refers to a node that is not there."""

from weft.compiler.ir.text import parse_module

TEXT = """module Demo (form=full, entry=f)

instance Demo

function f(x: [D:4]) -> (value: [D:4]) {
  %1 = add(%x, %2): [D:4]
  return %1
}
"""


def trigger() -> None:
    parse_module(TEXT, "demo.ir")
