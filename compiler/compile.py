"""From a program to a module that is ready for the back ends: elaborated, cleaned up, verified after every pass."""

from __future__ import annotations

from ..lang.program import Program
from .ir.module import Module
from .lower.model import compile_model
from .passes.contract import apply
from .passes.pipeline import passes


def compile(program: Program, name: str, *, level: str = "O1") -> Module:
    """The model `name` as a module in full form.

    `level` picks the passes: O0 removes what nothing uses, O1 also folds constants and merges what is equal. Raises
    WeftError for a program that does not check.
    """
    return apply(compile_model(program, name), passes(level))
