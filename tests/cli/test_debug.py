"""A breakpoint in a task waits, tells so, and is attached to from another terminal."""

import os
import subprocess
import sys

import pytest

from heliostat.cli import _debug, main
from heliostat.testing.clock import until

PROGRAM = """
import os, sys
import heliostat as ray
ray.init(num_cpus=2)

@ray.remote
def f(secret):
    breakpoint()
    return secret

@ray.remote
class Actor:
    def fail(self):
        number = 42
        raise KeyError("no")

def from_ray(n):
    ray.util.pdb.set_trace()
    return n

if sys.argv[1] == "task":
    print("result", ray.get(f.remote([41])))
elif sys.argv[1] == "two":
    print("result", ray.get([f.remote(1), ray.remote(from_ray).remote(2)]))
else:
    try:
        ray.get(Actor.remote().fail.remote())
    except KeyError:
        print("raised")
"""


@pytest.fixture
def driver():
    started = []

    def start(what, **environ):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def attach(pid, typed):
    done = subprocess.run(
        [sys.executable, "-m", "heliostat.cli", "debug", str(pid)],
        input=typed, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_breakpoint_in_a_task_tells_the_driver_and_is_attached_to(driver, capsys):
    process = driver("task")
    said = process.stderr.readline()
    assert "heliostat: breakpoint in f at <string>:" in said
    pid = int(said.rpartition(" ")[2])
    text = attach(pid, "p secret[0] + 1\nsecret.append(7)\nc\n")
    assert "42" in text
    assert process.stdout.readline() == "result [41, 7]\n"
    assert process.wait(20) == 0
    assert main(["debug", str(pid)]) == 1
    assert f"heliostat debug: no breakpoint waits in process {pid}" in capsys.readouterr().err


def test_whoever_hangs_up_lets_it_go_on(driver):
    process = driver("task")
    pid = int(process.stderr.readline().rpartition(" ")[2])
    attach(pid, "")
    assert process.stdout.readline() == "result [41]\n"


def test_several_are_listed(driver, capsys, monkeypatch):
    process = driver("two")
    pids = {int(process.stderr.readline().rpartition(" ")[2]) for _ in range(2)}
    until(lambda: pids <= {each.pid for each in _debug.waiting(None)}, "both wait")
    main(["debug"])
    shown = capsys.readouterr().out
    assert all(f"process {pid}: breakpoint in " in shown for pid in pids)
    assert "attach to one: heliostat debug PID" in shown
    for pid in pids:
        attach(pid, "c\n")
    assert process.stdout.readline() == "result [1, 2]\n"


def test_an_error_is_looked_at_post_mortem(driver):
    process = driver("fail", HELIOSTAT_DEBUG_POST_MORTEM="1")
    said = process.stderr.readline()
    assert "heliostat: KeyError in Actor.fail at <string>:" in said
    text = attach(int(said.rpartition(" ")[2]), "p number\nq\n")
    assert "42" in text
    assert process.stdout.readline() == "raised\n"
