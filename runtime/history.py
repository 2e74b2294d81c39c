"""The loss history of a run: a CSV file that continues exactly where a checkpoint left it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..lang import errors
from ..lang.diagnostics import WeftError


@dataclass(frozen=True)
class Row:
    """One optimizer step: `step` counts from 1, `tokens` are all labels so far, losses are in nats per token.

    `norm` is the gradient's norm before clipping, `seconds` the time spent in training so far.
    """

    step: int
    tokens: int
    loss: float
    validation: float | None
    rate: float
    norm: float
    seconds: float


_COLUMNS = tuple(f.name for f in fields(Row))


class History:
    """Rows appended to a CSV file; `mark` says how far it reaches, for a checkpoint."""

    def __init__(self, path: Path, mark: Mapping[str, Any] | None = None) -> None:
        """Begins a new file, or continues one at a mark: what was written after the mark is cut off.

        WeftError when the file up to the mark is not what it was.
        """
        self.path = path
        self._hash = hashlib.sha256()
        if mark is None:
            path.write_text(",".join(_COLUMNS) + "\n", encoding="utf-8")
        kept = path.read_bytes() if path.is_file() else b""
        if mark is not None:
            kept = kept[: mark["bytes"]]
            if hashlib.sha256(kept).hexdigest() != mark["sha256"]:
                raise WeftError(
                    errors.bad_run_folder(str(path.parent), f"`{path.name}` was changed since the last checkpoint")
                )
        self._hash.update(kept)
        self._file = path.open("r+b")
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def append(self, row: Row) -> None:
        values = (getattr(row, name) for name in _COLUMNS)
        line = ",".join("" if v is None else repr(v) for v in values).encode() + b"\n"
        self._hash.update(line)
        self._file.write(line)
        self._file.flush()

    def mark(self) -> dict[str, Any]:
        """Where the file ends now, once it is on the disk to there."""
        os.fsync(self._file.fileno())
        return {"bytes": self._file.tell(), "sha256": self._hash.hexdigest()}

    def close(self) -> None:
        self._file.close()


def read_history(path: Path) -> tuple[Row, ...]:
    """The rows of a history file. A last line that was cut off by a crash is left out."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = []
    for record in csv.DictReader(io.StringIO(whole)):
        validation = record["validation"]
        rows.append(
            Row(
                int(record["step"]),
                int(record["tokens"]),
                float(record["loss"]),
                float(validation) if validation else None,
                float(record["rate"]),
                float(record["norm"]),
                float(record["seconds"]),
            )
        )
    return tuple(rows)
