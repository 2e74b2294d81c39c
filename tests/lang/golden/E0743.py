"""An architecture that nothing maps."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source

MAP = Source("tiny.llm", '')


def trigger() -> None:
    raise WeftError(errors.unknown_architecture(["LlamaForCasualLM"], ["LlamaForCausalLM", "GPT2LMHeadModel"]))
