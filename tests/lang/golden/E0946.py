"""Two trainings in one folder."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from weft.runtime.run import exclusive


def trigger() -> None:
    with TemporaryDirectory() as folder, chdir(folder):
        Path("run").mkdir()
        with exclusive(Path("run")), exclusive(Path("run")):
            pass
