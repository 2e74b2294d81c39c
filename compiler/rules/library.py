"""The rules that a person can name: those of the standard library, and those of a program's own file."""

from __future__ import annotations

from functools import cache

from ...lang import tree
from ...lang.program import STDLIB, Program, load
from ..lower.templates import lower_rule
from .rule import Rule


@cache
def library_rules() -> tuple[Rule, ...]:
    """The rules of `stdlib/rules.llm` in the order in which they are tried."""
    return program_rules(load(STDLIB / "rules.llm"))


def program_rules(program: Program) -> tuple[Rule, ...]:
    """The rules that stand in the main file of a program, in order. Raises WeftError when one does not type."""
    items = program.main.items.values()
    return tuple(lower_rule(program.main, item) for item in items if isinstance(item, tree.Rule))
