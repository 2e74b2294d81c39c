"""States in blocks of 8 bits, over several devices."""

from weft.compiler.sharding import mesh_of
from weft.lang.diagnostics import WeftError
from weft.lang.parser import parse
from weft.lang.recipes import check_recipe
from weft.lang.source import Source
from weft.runtime.distributed.team import refusals

TEXT = """
recipe Small {
  tokenizer bpe(vocab = 512)
  stage first {
    data   = text("corpus/*.txt") |> pack(128)
    loss   = next_token()
    optim  = adamw(lr = 1e-3, bits = 8)
    batch  = 8 sequences
    budget = 100 steps
  }
  shard mesh(data = 2) { B = data }
}
"""


def trigger() -> None:
    recipe = check_recipe(parse(Source("small.llm", TEXT))[0].items[0], None)
    assert recipe.shard is not None
    raise WeftError(*refusals(recipe.stages[0], mesh_of(recipe.shard)))
