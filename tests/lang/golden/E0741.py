"""A value that the map does not cover."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span

MAP = Source("tiny.llm", 'require hidden_act == "silu"')


def trigger() -> None:
    raise WeftError(errors.config_refused('hidden_act == "silu"', {"hidden_act": "gelu"}, Span(MAP, 8, 28)))
