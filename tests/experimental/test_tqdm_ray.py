"""Bars of workers are shown by the driver, together with its own."""

import os
import pty
import subprocess
import sys

import pytest

from heliostat.experimental import tqdm_ray

PROGRAM = """
import os, time
import heliostat as ray
from heliostat.experimental import tqdm_ray
ray.init(num_cpus=2)
@ray.remote(max_retries=0)
def work(n, die=False):
    for step in tqdm_ray.tqdm(range(12), desc=f"task {n}", unit="steps"):
        time.sleep(0.05)
        if step == 6:
            tqdm_ray.safe_print("halfway", n)
            if die: os._exit(1)
ray.get([work.remote(n) for n in range(2)])
try:
    ray.get(work.remote(2, True))
except ray.exceptions.WorkerCrashedError:
    print("crashed")
"""


def test_bars_of_several_tasks_are_plain_lines_outside_a_terminal():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert sorted(line.rpartition(") ")[2] for line in done.stdout.splitlines()) == [
        "crashed", "halfway 0", "halfway 1", "halfway 2",
    ]  # fmt: skip
    for n in range(2):
        assert f"task {n}: 12 of 12 steps" in done.stderr or f"task {n}: 12 steps in" in done.stderr
    assert "::heliostat" not in done.stdout + done.stderr


def test_bars_are_live_in_a_terminal():
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ):
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            seen += data
    os.close(ours)
    text = seen.decode()
    assert "\x1b[" in text
    assert "task 0" in text
    assert "task 1" in text
    assert ") halfway 0\r\n" in text
    assert "::heliostat" not in text


def test_a_bar_counts_and_can_be_driven_by_hand():
    with tqdm_ray.tqdm(total=10, desc="rows", unit="rows") as bar:
        bar.update(3)
        bar.set_description("more rows")
        bar.n += 1
        bar.total = 20
        bar.refresh()
        assert (bar.n, bar.total) == (4, 20)
    assert list(tqdm_ray.tqdm(iter("ab"))) == ["a", "b"]
    with pytest.raises(ValueError, match="nothing to iterate over"):
        list(tqdm_ray.tqdm(total=3))
    assert not tqdm_ray._shown


def test_what_only_looks_like_a_bar_is_refused():
    for line in (b"nonsense", b"[1, 2]", b'{"a": 1}'):
        with pytest.raises(ValueError, match=r"."):
            tqdm_ray.show(line)
