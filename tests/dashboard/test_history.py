"""A history is bounded, private, and readable while it is written and afterwards."""

import os
import subprocess
import sys

import pytest

from heliostat.dashboard import _history as history_module
from heliostat.dashboard._history import History, Query, find, folder, prune, reading, runs


@pytest.fixture
def history(tmp_path):
    made = History(tmp_path / "a.db", new=True)
    yield made
    made.close()


def task(number, name="f", state="FINISHED"):
    return (f"{number:04x}", name, state, "NORMAL_TASK", None, 7, 0.0, number, number + 2.0, 2.0)


def test_what_is_put_is_read_by_another_connection(history):
    history.put("overview", {"a": 1})
    history.put("overview", {"a": 2})
    with reading(history.path) as other:
        assert other.get("overview") == {"a": 2}
        assert other.get("nothing") is None
        assert other.names() == ["overview"]


def test_tasks_are_sorted_searched_and_paged(history):
    history.add_tasks(
        [task(n, name=f"F{n % 2}", state="FAILED" if n == 3 else "FINISHED") for n in range(10)]
    )
    rows, total = history.tasks(Query(most=3))
    assert ([row["start_time_ms"] for row in rows], total) == ([9, 8, 7], 10)
    rows, total = history.tasks(Query(sort="start_time_ms", down=False, start=1, most=2))
    assert [row["start_time_ms"] for row in rows] == [1, 2]
    assert history.tasks(Query(text="f1"))[1] == 5
    assert history.tasks(Query(state="FAILED"))[1] == 1
    assert history.tasks(Query(text="%"))[1] == 0
    with pytest.raises(ValueError, match="no column"):
        history.tasks(Query(sort="name; DROP TABLE tasks"))


def test_tasks_are_added_up_by_name(history):
    history.add_tasks([task(1), task(2, state="FAILED"), task(3, name="g")])
    first, second = history.summary()
    assert (first["name"], first["ended"], first["failed"], first["mean_ms"]) == ("f", 2, 1, 2.0)
    assert second["name"] == "g"


def test_the_oldest_tasks_go(history, monkeypatch):
    monkeypatch.setattr(history_module, "KEPT_TASKS", 10)
    history.add_tasks([task(n) for n in range(30)])
    rows, total = history.tasks(Query())
    assert (total, rows[-1]["start_time_ms"]) == (10, 20)


def test_of_too_many_samples_every_other_one_goes(history, monkeypatch):
    monkeypatch.setattr(history_module, "KEPT_SAMPLES", 8)
    for at in range(20):
        history.sample(float(at), {"a": at})
    kept = [at for at, _ in history.samples()]
    assert len(kept) <= 8
    assert kept == sorted(kept)
    assert kept[-1] == 19.0
    assert kept[0] < 4


def test_no_more_samples_are_shown_than_a_plot_has_points(history, monkeypatch):
    monkeypatch.setattr(history_module, "SHOWN_SAMPLES", 5)
    for at in range(23):
        history.sample(float(at), {})
    shown = [at for at, _ in history.samples()]
    assert len(shown) == 5
    assert shown[-1] == 22.0


def test_runs_are_found_by_name_and_the_oldest_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="no history yet"):
        find(None)
    for number in range(4):
        History(folder() / f"run-{number}.db", new=True).close()
    assert find("run-2").name == "run-2"
    with pytest.raises(ValueError, match=r"no run 'x'; the newest are: run-"):
        find("x")
    monkeypatch.setattr(history_module, "KEPT_RUNS", 2)
    prune()
    assert len(runs()) == 2


def test_a_folder_that_others_can_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    folder().chmod(0o755)
    with pytest.raises(PermissionError, match="chmod 700"):
        folder()


def test_a_history_is_for_its_user_alone(history):
    assert history.path.stat().st_mode & 0o077 == 0


FULL = """
import resource, sys, heliostat as ray

ray.init(num_cpus=1, include_dashboard=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 15))

@ray.remote
def work(x):
    return x

print(sum(ray.get([work.remote(n) for n in range(2000)])), flush=True)
ray.shutdown()
print("ended")
"""


def test_a_disk_that_is_full_leaves_gaps_in_the_history_and_the_program_goes_on(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL],
        env={**os.environ, "HELIOSTAT_STATE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["1999000", "ended"], done.stderr
    assert done.returncode == 0
    assert done.stderr.count("has gaps from now on") == 1
    assert "Traceback" not in done.stderr
