"""`heliostat why` shows the sessions of this user from another process."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from heliostat.cli import _why, main
from heliostat.testing.clock import until

PROGRAM = """
import sys, time
import heliostat as ray
ray.init(num_cpus=1)
@ray.remote
def forever(): time.sleep(1000)
@ray.remote
class Model: pass
model = Model.options(name="the model").remote()
ref = forever.remote()
kept = ray.put(bytes(1 << 21))
ray.get(model.__ray_ready__.remote())
print("ready", flush=True)
ray.get([ref, forever.remote()])
"""


@pytest.fixture
def driver():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.send_signal(signal.SIGKILL)


def test_it_says_what_runs_and_what_waits_for_what(driver, capsys):
    def text():
        assert main(["why", str(driver.pid)]) == 0
        return capsys.readouterr().out

    until(lambda: "the driver waits" in text(), "the driver waits in get")
    shown = text()
    assert shown.startswith(f"process {driver.pid}, -c, for ")
    assert "CPU: 0 of 1 free" in shown
    assert re.search(r"forever runs for \d+ s in worker process", shown)
    assert "forever waits for resources (CPU: 1 asked for, 0 free), held by forever" in shown
    assert "Model 'the model': ALIVE" in shown
    assert "2.1 MB" in shown


def test_a_process_that_is_not_there_yet_is_no_number():
    row = {"pid": None, "rss": 0, "actor": "Model", "runs": "Model.__init__"}
    assert _why._worker(row) == "a process that starts: actor Model, Model.__init__"
    assert _why._worker({**row, "pid": 7}) == "process 7: actor Model, Model.__init__"
    actor = {
        "class_name": "Model", "name": "", "state": "PENDING_CREATION", "pid": None,
        "num_pending_calls": 1, "reason": "",
    }  # fmt: skip
    assert "no process yet" in _why._actor(actor)


def test_it_speaks_json_to_programs(driver, capsys):
    assert main(["why", "--json", str(driver.pid)]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["pid"] == driver.pid
    assert [actor["name"] for actor in report["actors"]] == ["the model"]
    assert all(worker["rss"] > 0 for worker in report["workers"])


def test_nothing_is_left_of_a_driver_that_was_killed(driver, capsys):
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until(lambda: main(["why", str(driver.pid)]) == 1, "nobody answers")
    assert f"process {driver.pid} has no session" in capsys.readouterr().err


def test_a_quiet_session_says_so_and_names_cannot_move_the_cursor():
    report = {
        "pid": 7, "program": "a.py", "seconds": 3, "resources": [], "waits": [], "actors": [],
        "memory": {"capacity": 4_000_000, "used": 1_500_000, "on_disk": 2_000_000},
        "tasks": [], "workers": [{"pid": 8, "rss": 1e6, "actor": None, "runs": None}], "objects": [],
    }  # fmt: skip
    text = _why.describe(report)
    assert "  nothing runs and nothing waits" in text
    assert "process 8 (1 MB): idle" in text
    report["tasks"] = [{"name": "\x1b[2Jf", "reason": "runs"}] * 12
    text = _why.describe(report)
    assert "?[2Jf runs" in text
    assert "and 2 more" in text
