"""What tools/hops.py sees of a call."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import heliostat
from tools.hops import Walk, follow

ROOT = Path(__file__).parents[2]


def test_files_are_listed_once_in_the_order_they_are_entered():
    walk = Walk({("b.py", "f"): None, ("a.py", "g"): None, ("b.py", "h"): None})
    assert walk.files == ["b.py", "a.py"]
    assert walk.stops == ["b.py:f", "a.py:g", "b.py:h"]


def test_an_expected_stop_must_come_after_the_one_before():
    walk = Walk({("a.py", "f"): None, ("b.py", "g"): None, ("c.py", "h"): None})
    assert walk.missing("a.py:f", "c.py:h") == []
    assert walk.missing("c.py:h", "a.py:f") == ["a.py:f"]
    assert walk.missing("a.py:f", "d.py:i", "b.py:g") == ["d.py:i"]


def test_nothing_is_followed_outside_the_block():
    before = sys.getprofile()
    with follow() as walk:
        pass
    assert sys.getprofile() is before
    assert walk.stops == []


def test_the_command_prints_the_stops_of_a_call():
    setup = "import heliostat as ray; ray.init(engine='inline'); f = ray.remote(len)"
    out = subprocess.run(
        [sys.executable, "-m", "tools.hops", setup, "ray.get(f.remote('abc'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ).stdout.splitlines()
    assert out[0] == "_core/remote.py:RemoteFunction.remote"
    assert "_core/api.py:get" in out
    assert out[-1].endswith("files")


def test_a_thread_that_looks_at_memory_now_and_then_is_on_no_way():
    with follow() as walk:
        thread = threading.Thread(target=heliostat.is_initialized, name="heliostat-memory")
        thread.start()
        thread.join()
        assert walk.stops == []
        thread = threading.Thread(target=heliostat.is_initialized)
        thread.start()
        thread.join()
    assert "_core/session.py:is_initialized" in walk.stops
