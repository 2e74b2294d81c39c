"""A picture that should be written into a folder that does not exist."""

from pathlib import Path

from weft.commands.specs import write_file


def trigger() -> None:
    write_file(Path("no-such-folder/tiny.svg"), "<svg/>")
