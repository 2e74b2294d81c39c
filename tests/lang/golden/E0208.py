"""It takes two files to have a module twice: `E0208/nn.llm` and the one of the standard library."""

from contextlib import chdir
from pathlib import Path

from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source


def trigger() -> None:
    with chdir(Path(__file__).parent):
        raise WeftError(*load_source(Source("model.llm", "use nn: relu\n"), Path("E0208")).diagnostics)
