"""A picture of one of three models."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError


def trigger() -> None:
    raise WeftError(errors.which_one("model", "llama.llm", ("Llama3", "Llama3_8B", "Llama3_70B")))
