"""Two tensors of the files that no line mentions."""

from weft.lang import errors
from weft.lang.diagnostics import WeftError
from weft.lang.source import Source, Span

MAP = Source("tiny.llm", 'checkpoint "TinyForCausalLM" for Tiny')


def trigger() -> None:
    raise WeftError(errors.unknown_tensors(["head.bias", "extra.weight"], "tiny", Span(MAP, 0, 28)))
