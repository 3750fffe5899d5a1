"""`heliostat dashboard` reaches a running program, or opens a history; `report` writes it as a file."""

import json
import signal
import subprocess
import sys

import pytest

from tests.cli.command import heliostat
from tests.dashboard.conftest import Visitor

PROGRAM = """
import sys, heliostat as ray
ray.init(num_cpus=1)
@ray.remote
def early(): return 1
assert ray.get(early.remote()) == 1
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return {"HELIOSTAT_STATE_DIR": str(tmp_path_factory.mktemp("state"))}


def test_a_running_program_is_shown_from_another_shell_and_its_history_afterwards(
    state, tmp_path, monkeypatch
):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", state["HELIOSTAT_STATE_DIR"])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout.readline() == b"ready\n"
        told = json.loads(heliostat("dashboard", "--pid", program.pid, "--json").stdout)
        again = json.loads(heliostat("dashboard", "--pid", program.pid, "--json").stdout)
        assert told == again
        visitor = Visitor(told["url"])
        assert visitor.page("session")["pid"] == program.pid
        assert visitor.table("ended_tasks")["rows"][0]["name"] == "early"
        program.stdin.close()
    assert program.returncode == 0
    assert told["run"] in heliostat("dashboard", "--list").stdout
    out = tmp_path / "r.html"
    done = heliostat("report", told["run"], "-o", out, "--json")
    assert json.loads(done.stdout) == {"run": told["run"], "file": str(out)}
    assert "early" in out.read_text()
    with subprocess.Popen(
        [sys.executable, "-m", "heliostat.cli", "dashboard", told["run"], "--json"],
        stdout=subprocess.PIPE,
    ) as shown:
        url = json.loads(shown.stdout.readline())["url"]
        assert Visitor(url).table("ended_tasks")["total"] == 1
        shown.send_signal(signal.SIGINT)
    assert shown.returncode == 0


def test_what_is_not_there_is_named(state):
    done = heliostat("report", "no-such-run", **state)
    assert done.returncode == 1
    assert "no-such-run" in done.stderr or "no history yet" in done.stderr
    done = heliostat("dashboard", "--pid", 1, **state)
    assert done.returncode == 1
    assert "process 1 has no session" in done.stderr
