"""What every command is made of."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from .terminal import Terminal


class UsageError(Exception):
    """Arguments that are fine one by one but not together: exit code 2."""


@dataclass(frozen=True)
class Command:
    """A command of `weft`.

    `summary` opens its help. `teaching` follows the arguments there: examples, what is printed, what the exit codes
    mean. `arguments` declares its arguments, `run` does the work and gives the exit code: 0 when all is fine, 1 when
    the input is wrong.
    """

    name: str
    summary: str
    teaching: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Terminal], int]
