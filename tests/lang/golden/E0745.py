"""A folder without a checkpoint."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source

MAP = Source("tiny.llm", '')


def trigger() -> None:
    raise WeftError(errors.no_checkpoint("tiny", "`model.safetensors` is missing"))
