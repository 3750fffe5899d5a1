"""Both boosting libraries learn from the taxi trips, as people run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "taxi_boosting.py"


def test_both_libraries_tell_trips_apart_as_well_as_these_rows_allow():
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        env={**os.environ, "ROWS": "40000"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"(\w+): AUC (0\.\d+)", done.stdout))
    assert list(found) == ["XGBoost", "LightGBM"]
    # The label is honest, and hardly to be learnt from these columns.
    assert all(0.51 < float(auc) < 0.7 for auc in found.values())
