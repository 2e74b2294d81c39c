"""The rules that a person can name: those of the standard library, and those of a program's own file."""

from __future__ import annotations

from functools import cache

from ...lang import tree
from ...lang.program import STDLIB, Program, load
from ..lower.templates import lower_rule
from .rule import Rule

# What passes put in: attention with its cache, linear attention, mixtures of experts.
PUT_IN = ("cached_attend", "linear_attend", "mix_experts", "route_experts")


@cache
def library_rules() -> tuple[Rule, ...]:
    """The rules of `stdlib/rules.llm` in the order in which they are tried."""
    return program_rules(load(STDLIB / "rules.llm"))


def fusion_names(program: Program) -> tuple[str, ...]:
    """The names of the rules that a program can rely on, and of what rules and passes put in."""
    library = load(STDLIB / "rules.llm").main.items.items()
    names = [name for name, item in library if isinstance(item, tree.Rule | tree.Fn)]
    names += [name for name, item in program.main.items.items() if isinstance(item, tree.Rule)]
    return (*names, *PUT_IN)


def program_rules(program: Program) -> tuple[Rule, ...]:
    """The rules that stand in the main file of a program, in order. Raises WeftError when one does not type."""
    items = program.main.items.values()
    return tuple(lower_rule(program.main, item) for item in items if isinstance(item, tree.Rule))
