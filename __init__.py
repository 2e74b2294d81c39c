"""Weft: a language and a compiler for large language models.

    program = weft.load("model.llm")          # parse the file and everything it uses
    module = weft.compile(program, "Tiny")    # one model as an IR module
    print(weft.to_torch(module))              # as PyTorch source
"""

from .compiler.lower.model import compile_model as compile
from .lang.diagnostics import Diagnostic, WeftError
from .lang.program import Program, load

__version__ = "0.1.0"

__all__ = ["Diagnostic", "Program", "WeftError", "__version__", "compile", "load"]
