"""A run that is killed at any moment, and started again, ends bit for bit where an undisturbed one ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("killing.py")
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("when", ["operations", "moments"])
def test_the_run_ends_where_an_undisturbed_one_ends(outcomes: dict[str, Any], when: str) -> None:
    undisturbed, killed = outcomes["undisturbed"], outcomes[when]
    assert killed["status"] == 0
    assert killed["step"] == undisturbed["step"] == 12
    assert killed["digest"] == undisturbed["digest"], "weights, moments and random state differ"
    assert killed["rows"] == undisturbed["rows"], "the history differs, or has a step twice"
    assert [row[0] for row in killed["rows"]] == list(range(1, 13))
    assert killed["left"] == [] and killed["picture"]


def test_the_runs_were_really_killed(outcomes: dict[str, Any]) -> None:
    assert outcomes["kills at operations"] == 18
    assert outcomes["kills at moments"] >= 3
