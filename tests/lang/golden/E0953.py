"""A folder that is no run."""

from pathlib import Path

from weft.runtime.run import Run


def trigger() -> None:
    Run(Path("no-such-run")).open()
