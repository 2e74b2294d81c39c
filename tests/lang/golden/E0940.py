"""A recipe that quantizes what it exports."""

from weft.lang.parser import parse
from weft.lang.recipes import check_recipe
from weft.lang.source import Source
from weft.runtime.support import check_exportable

TEXT = """
recipe Small {
  quantize int4(group = 128) on all Linear
  export onnx { context = 512 tokens }
}
"""


def trigger() -> None:
    recipe = check_recipe(parse(Source("small.llm", TEXT))[0].items[0], None)
    check_exportable(recipe, recipe.exports[0])
