"""The examples of Tune run as they are and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAYS = {
    "lessons/lesson3_tune": r"best a=\d+ of 8 tries, rmse \d",
    "lessons/lesson3_resnet": r"best lr=\S+ of 4 tries, loss [0-2]\.\d",
    "tune_asha": r"\d\d\d steps instead of 810; best lr=0\.0\d",
    "tune_pbt": r"4 trials, the worst ends at \S+; alone",
    "tune_optuna": r"\d+ of 60 are not beaten",
    "tune_resume": r"some were done: True; all 20 are now; best x=7",
}
NEEDS = {"tune_optuna": ("optuna",), "lessons/lesson3_resnet": ("torch", "sklearn")}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_prints_what_it_promises(name, tmp_path):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    environment = {**os.environ, "HOME": str(tmp_path), "HELIOSTAT_PRELOAD": "1"}
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
