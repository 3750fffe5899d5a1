"""The examples of Tune run as they are and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "tune_lesson3": r"best a=\d+ of 8 tries, rmse \d",
    "tune_asha": r"\d\d\d steps instead of 810; best lr=0\.0\d",
    "tune_pbt": r"4 trials, the worst ends at \S+; alone",
    "tune_optuna": r"\d+ of 60 are not beaten",
    "tune_resume": r"some were done: True; all 20 are now; best x=7",
}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_prints_what_it_promises(name, tmp_path):
    if name == "tune_optuna":
        pytest.importorskip("optuna")
    environment = {**os.environ, "HOME": str(tmp_path)}
    program = [sys.executable, EXAMPLES / f"{name}.py"]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
