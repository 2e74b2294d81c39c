"""How a run tells what it does: a progress bar in a terminal, plain lines elsewhere, or nothing at all."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn


class Reporter(Protocol):
    """What a run calls while it works."""

    def say(self, text: str) -> None:
        """One line that a person should read."""

    def begin(self, title: str, done: int, steps: int) -> None:
        """A stage of `steps` steps begins, of which `done` are done."""

    def step(self, number: int, loss: float, speed: float, left: float) -> None:
        """Step `number` (from 1) is done: its loss in nats, tokens per second, seconds left."""

    def end(self) -> None:
        """The stage is over, or was interrupted."""


@dataclass(frozen=True)
class Silent:
    """Says nothing."""

    def say(self, text: str) -> None: ...

    def begin(self, title: str, done: int, steps: int) -> None: ...

    def step(self, number: int, loss: float, speed: float, left: float) -> None: ...

    def end(self) -> None: ...


@dataclass
class Lines:
    """Plain lines for logs: a step at most every `every` seconds."""

    console: Console = field(default_factory=Console)
    every: float = 10.0
    _steps: int = 0
    _last: float = 0.0

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, title: str, done: int, steps: int) -> None:
        self._steps, self._last = steps, time.monotonic()

    def step(self, number: int, loss: float, speed: float, left: float) -> None:
        now = time.monotonic()
        if now - self._last >= self.every or number == self._steps:
            self._last = now
            self.say(f"step {number:,}/{self._steps:,}  loss {loss:.3f}  {speed:,.0f} tokens/s  {duration(left)} left")

    def end(self) -> None: ...


@dataclass
class Bar:
    """A progress bar with loss, tokens per second and the time left."""

    console: Console = field(default_factory=Console)
    _progress: Progress | None = None
    _task: TaskID | None = None

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, title: str, done: int, steps: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[numbers]}"),
        )
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task(title, total=steps, completed=done, numbers="")
        self._progress.start()

    def step(self, number: int, loss: float, speed: float, left: float) -> None:
        assert self._progress is not None and self._task is not None
        numbers = f"loss {loss:.3f}  {speed:,.0f} tokens/s  {duration(left)} left"
        self._progress.update(self._task, completed=number, numbers=numbers)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def reporter(console: Console) -> Reporter:
    """A bar when the console is a terminal, else lines."""
    return Bar(console) if console.is_terminal else Lines(console)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
