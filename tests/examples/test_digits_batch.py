"""Batch inference over pictures, as people run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_batch.py"


def test_digits_are_read_by_two_actors():
    environment = {**os.environ, "HELIOSTAT_NUM_CPUS": "2", "HELIOSTAT_PROGRESS": "0"}
    done = subprocess.run(
        [sys.executable, EXAMPLE], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    right, rows = map(int, re.search(r"(\d+) of (\d+) unseen", done.stdout).groups())
    assert right / rows > 0.9
    assert re.findall(r"^(\d): ", done.stdout, re.MULTILINE) == list("0123456789")
    assert f"{rows} guesses written" in done.stdout
