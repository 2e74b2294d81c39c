"""A tensor of another shape."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span

MAP = Source("tiny.llm", 'embed.table = "wte.weight"')


def trigger() -> None:
    raise WeftError(errors.misfit_tensor("wte.weight", "is [16, 8], the model needs [16, 4]", Span(MAP, 0, 26)))
