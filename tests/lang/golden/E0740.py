"""A key that the map reads and config.json lacks."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span

MAP = Source("tiny.llm", 'D = hidden_size')


def trigger() -> None:
    raise WeftError(errors.missing_config_key("hidden_size", Span(MAP, 4, 15)))
