"""A fusion that was expected and did not happen."""

from weft.compiler.ir.text import parse_module
from weft.compiler.rules.explain import require_fused
from weft.compiler.rules.rewrite import rewrite
from weft.compiler.rules.trace import rule

TEXT = """module Demo (form=full, entry=f)

instance Demo

function f(x: [D:4], y: [D:4]) -> (value: [D:4], value.1: [D:4]) {
  %2 = mul(%x, %y): [D:4]
  %3 = add(%2, %x): [D:4]
  return %3, %2
}
"""


@rule(x="[..]", y="[..]")
def factor() -> object:
    return (lambda x, y: x * y + x), (lambda x, y: x * (y + 1.0))


def trigger() -> None:
    module, report = rewrite(parse_module(TEXT), (factor,))
    require_fused(report, "factor", module, (factor,))
