"""Distributed training of a small network, as people run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_ddp.py"


def test_two_workers_learn_to_read_digits(tmp_path):
    environment = {**os.environ, "STORAGE": str(tmp_path), "HELIOSTAT_NUM_CPUS": "2"}
    environment["HELIOSTAT_PRELOAD"] = "1"  # as people have it
    done = subprocess.run(
        [sys.executable, EXAMPLE], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    *_, last = re.findall(r"epoch (\d)  loss \S+  accuracy (\S+)", done.stdout)
    assert last[0] == "4"
    assert float(last[1]) > 0.9
    right = re.search(r"(\d+) of 360 unseen digits", done.stdout)
    assert right is not None
    assert int(right[1]) == round(float(last[1]) * 360)  # what was kept is what was measured
