"""Keys that the map does not know."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source

MAP = Source("tiny.llm", '')


def trigger() -> None:
    raise WeftError(errors.unknown_config_keys(["window", "rope.factor"]))
