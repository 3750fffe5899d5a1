"""The taxi lesson's data and the arithmetic around it, and the whole of it as people run it."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import heliostat

EXAMPLES = Path(__file__).parents[2] / "examples"
TRIPS = EXAMPLES / "data" / "taxi_lesson1.parquet"


def test_the_data_is_what_its_readme_says():
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(TRIPS)
    readme = (EXAMPLES / "data" / "README.md").read_text()
    assert f"{table.num_rows:,} trips" in readme
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == table.column_names
    share = np.mean(table["is_big_tip"].to_numpy())
    assert f"{share:.0%}".replace("%", " %") in readme


def test_area_under_curve_counts_pairs_and_halves_ties():
    pytest.importorskip("xgboost")
    spec = importlib.util.spec_from_file_location("taxi_example", EXAMPLES / "taxi.py")
    taxi = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(taxi)
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.4
    scores = rng.integers(0, 20, 200) / 20 + 0.1 * labels
    won = (scores[labels][:, None] > scores[~labels]) + 0.5 * (
        scores[labels][:, None] == scores[~labels]
    )
    assert taxi.area_under_curve(labels, scores) == pytest.approx(won.mean())


@pytest.mark.slow
def test_the_demo_ends_with_predictions_that_agree(tmp_path):
    done = heliostat("demo", cwd=tmp_path, timeout_s=180)
    assert done.returncode == 0, done.stderr
    depth = int(re.search(r"^Best depth: (\d+)$", done.stdout, re.MULTILINE)[1])
    assert 2 <= depth < 12
    tried = re.findall(r" TERMINATED +(\d+) ", done.stdout)
    assert len(tried) == 3
    assert str(depth) in tried
    offline = json.loads(re.search(r"Offline, the first trips: (\[.*\])", done.stdout)[1])
    online = json.loads(re.search(r"Online, the same trips: (\{.*\})", done.stdout)[1])
    assert online["probability"] == pytest.approx(offline, abs=1e-4)
    assert "Offline and online agree." in done.stdout
    area = float(re.search(r"AUC on 103,84\d validation trips: (0\.\d+)", done.stdout)[1])
    assert 0.5 < area < 0.65
    assert list(tmp_path.iterdir()) == []
    named = re.search(r"^Results: (.*)$", done.stdout, re.MULTILINE)[1]
    gone = re.search(
        r"^What was in (.*) is removed; STORAGE_PATH=folder keeps it\.$", done.stdout, re.MULTILINE
    )
    assert named.startswith(f"{gone[1]}/")


@pytest.mark.slow
def test_the_demo_keeps_what_it_trained_in_a_folder_that_is_given(tmp_path):
    done = heliostat("demo", "kept", cwd=tmp_path, timeout_s=180)
    assert done.returncode == 0, done.stderr
    named = Path(re.search(r"^Results: (.*)$", done.stdout, re.MULTILINE)[1])
    assert named.parent == tmp_path / "kept"
    assert list(named.rglob("model.ubj"))
    assert "is removed" not in done.stdout


@pytest.mark.slow
def test_the_lesson_runs_unchanged_with_import_ray(tmp_path):
    storage = tmp_path / "storage"
    done = heliostat(
        "run",
        EXAMPLES / "lesson1_ray.py",
        cwd=tmp_path,
        timeout_s=180,
        TAXI_PARQUET=str(TRIPS),
        STORAGE_PATH=str(storage),
        HELIOSTAT_NUM_GPUS="4",
        HELIOSTAT_NUM_CPUS="4",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\{'prediction': \[0\.\d+\]\}", done.stdout.splitlines()[-1])
    assert list(storage.rglob("model.ubj"))
