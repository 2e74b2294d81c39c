"""The memory of this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Bytes: the most so far, and what is resident now, its own (anonymous) and of files; None where nothing tells."""

    peak: int
    anonymous: int | None = None
    files: int | None = None

    @staticmethod
    def now() -> Memory:
        if _STATUS.is_file():
            lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
            peak, anonymous, files = (1024 * int(lines[n].split()[0]) for n in ("VmHWM", "RssAnon", "RssFile"))
            return Memory(peak, anonymous, files)
        import resource  # not on Windows, where a bench ends here

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Memory(most if sys.platform == "darwin" else 1024 * most)
