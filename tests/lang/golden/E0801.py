"""A module whose text says what its operands do not make."""

from weft.compiler.ir.text import parse_module
from weft.compiler.ir.verify import verify

TEXT = """module Demo (form=full, entry=f)

instance Demo

function f(x: [D:4]) -> (value: [D:4]) {
  %1 = swish(%x): [D:4]
  %2 = add(%x, %1): [D:5]
  %3 = call(%2, callee=g, instance=none, site=g): [D:4]
  return %3
}
"""


def trigger() -> None:
    verify(parse_module(TEXT), after="fuse")
