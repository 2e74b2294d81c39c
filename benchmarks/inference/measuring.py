"""What every worker does: read a prompt, write token after token, and say how long it took and what memory it needed.

A worker runs one system in a process (and an environment) of its own and prints one JSON object as its last line.
"""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Decoder(Protocol):
    """One way to run a model, greedily, one row."""

    def start(self, prompt: list[int]) -> int:
        """Forget everything, read a prompt, and give the token after it."""

    def step(self, token: int) -> int:
        """The token after one more token."""


@dataclass(frozen=True)
class Moment:
    """Seconds: on the clock, of processor time of this process, and of all processes of the machine."""

    clock: float
    own: float
    machine: float

    @staticmethod
    def now() -> Moment:
        return Moment(time.perf_counter(), time.process_time(), _machine())

    def others(self, until: Moment) -> float:
        """How many processors others kept busy from this moment to that."""
        taken = (until.machine - self.machine) - (until.own - self.own)
        return max(0.0, taken / (until.clock - self.clock))


def _machine() -> float:
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, hard, soft, *_rest = (int(n) for n in file.readline().split()[1:])
    return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")


def memory() -> dict[str, float]:
    """MiB of this process: the most so far, and what is now its own (anonymous) and what is of files."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    names = {"peak": "VmHWM", "anonymous": "RssAnon", "files": "RssFile"}
    return {name: int(lines[key].split()[0]) / 1024 for name, key in names.items()}


def prompt(length: int, vocabulary: int) -> list[int]:
    """The same tokens for every system; none of them is a special one."""
    state, tokens = 1, []
    for _ in range(length):
        state = state * 48271 % 2147483647  # the minimal standard generator of Park and Miller
        tokens.append(4 + state % (vocabulary - 4))
    return tokens


def arguments() -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("artifact")
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def report(asked: Namespace, version: str, load: Callable[[], Decoder]) -> None:
    """Load, warm up, measure, print. Of each repeat: seconds of the prompt, of the tokens, and what others used."""
    base = memory()["peak"]
    began = time.perf_counter()
    decoder = load()
    loaded = time.perf_counter() - began
    words = prompt(asked.prompt, asked.vocabulary)
    token = decoder.start(words)
    for _ in range(min(3, asked.tokens)):
        token = decoder.step(token)
    rounds = []
    written: list[int] = []
    for _ in range(asked.repeats):
        first = Moment.now()
        token = decoder.start(words)
        written = [token]
        second = Moment.now()
        for _ in range(asked.tokens):
            token = decoder.step(token)
            written.append(token)
        third = Moment.now()
        rounds.append({
            "prefill": second.clock - first.clock,
            "decode": third.clock - second.clock,
            "others": first.others(third),
        })
    print(json.dumps({
        "version": version,
        "prompt": asked.prompt,
        "tokens": asked.tokens,
        "threads": asked.threads,
        "load": loaded,
        "rounds": rounds,
        "memory": {"base": base, **memory()},
        "first": written[:8],
    }))
