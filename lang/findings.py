"""Diagnostics gathered while a recipe is read, and the reading of plain settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from . import errors, tree
from .diagnostics import Diagnostic, WeftError
from .plans import Value
from .source import Span
from .values import Kind, Scope, word_span

T = TypeVar("T")


@dataclass
class Findings:
    """Diagnostics gathered while a recipe is read, so that one mistake does not hide the next."""

    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None after noting what was wrong."""
        try:
            return read()
        except WeftError as error:
            self.problems += error.diagnostics
            return None


def read_settings(
    settings: tuple[tree.Setting, ...], kinds: Mapping[str, Kind], place: str, findings: Findings
) -> dict[str, Value]:
    """The values of simple settings; unknown, repeated and wrong ones are noted."""
    values: dict[str, Value] = {}
    seen: dict[str, Span] = {}
    for setting in settings:
        span = word_span(setting.span, setting.name)
        if setting.name not in kinds:
            findings.problems.append(errors.unknown_setting(setting.name, place, tuple(kinds), span))
            continue
        if setting.name in seen:
            findings.problems.append(errors.setting_twice(setting.name, span, seen[setting.name]))
            continue
        seen[setting.name] = span
        kind = kinds[setting.name]
        value = findings.attempt(lambda kind=kind, setting=setting: kind.read(setting.value, setting.name, Scope()))  # type: ignore[misc]
        if value is not None:
            values[setting.name] = value
    return values
