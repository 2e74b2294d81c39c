"""How fast this machine reads memory: the bound of everything that has to read all weights for every token."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from threading import Barrier, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

GIB = 1 << 30
PASSES = 3


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second of each pass over the memory, all of them in the same run."""

    passes: tuple[float, ...]

    @property
    def best(self) -> float:
        """What the machine can do: the bound that a share is a share of."""
        return max(self.passes)

    @property
    def middle(self) -> float:
        return median(self.passes)


class Reader:
    """A buffer, and threads that read their parts of it at once.

    The loop is NumPy's `max` of float32: one load and one comparison for 16 numbers, without a chain of sums, so that
    it waits for memory and nothing else. The buffer is `size` bytes: much more than caches hold, where it is to tell
    of memory. NumPy leaves Python's lock while it reads.
    """

    def __init__(self, threads: int, size: int = GIB) -> None:
        numbers = max(threads, size // 4)
        self._parts: Sequence[NDArray[Any]] = np.array_split(np.ones(numbers, np.float32), threads)
        self._size = 4 * numbers

    def read(self, passes: int = PASSES) -> tuple[float, ...]:
        """Bytes per second of each of some passes over the whole buffer."""
        return tuple(self._size / self._seconds() for _ in range(passes))

    def _seconds(self) -> float:
        ready = Barrier(len(self._parts) + 1)

        def read(part: NDArray[Any]) -> None:
            ready.wait()
            part.max()

        threads = [Thread(target=read, args=(part,)) for part in self._parts]
        for thread in threads:
            thread.start()
        ready.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began
