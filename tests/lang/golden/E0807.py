"""Two rules that undo each other."""

from weft.compiler.ir.text import parse_module
from weft.compiler.rules.rewrite import rewrite
from weft.compiler.rules.trace import rule

TEXT = """module Demo (form=full, entry=f)

instance Demo

function f(x: [D:4], y: [D:4]) -> (value: [D:4]) {
  %2 = sub(%x, %y): [D:4]
  return %2
}
"""


@rule(x="[..]", y="[..]")
def there() -> object:
    return (lambda x, y: x - y), (lambda x, y: x + -y)


@rule(x="[..]", y="[..]")
def back() -> object:
    return (lambda x, y: x + -y), (lambda x, y: x - y)


def trigger() -> None:
    rewrite(parse_module(TEXT), (there, back))
