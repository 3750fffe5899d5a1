"""Small programs under Ray and under Heliostat come to the same, but for what is listed here.

Needs an interpreter that has Ray: HELIOSTAT_RAY_PYTHON, or this one.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(580)]

PROGRAMS = Path(__file__).with_name("programs.py")
NAMES = re.findall(r"^@program\ndef (\w+)", PROGRAMS.read_text(), flags=re.MULTILINE)

# What comes out differently, and why it stays so.
REASONS = {
    "cancel_of_a_running_task": "a TaskCancelledError itself, not wrapped into a RayTaskError",
    "decorating_what_is_neither_function_nor_class": "a TypeError, not an assertion",
    "an_error_that_is_no_exception": "a task that raises KeyboardInterrupt was cancelled: "
    "TaskCancelledError itself, not wrapped",
    "an_unpicklable_argument": "SerializationError is a TypeError, and one can catch it alone",
    "an_unpicklable_result": "SerializationError is a TypeError, and one can catch it alone",
    "get_with_a_negative_timeout": "refused; Ray waits for ever",
    "a_queue_is_full_and_empty": "Empty itself, as documented, not wrapped into a RayTaskError",
    "a_queue_takes_many_at_once": "Empty and Full themselves, not wrapped into a RayTaskError",
    "max_concurrency_is_checked": "refused; Ray makes an actor with it",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    theirs = os.environ.get("HELIOSTAT_RAY_PYTHON")
    if not theirs and importlib.util.find_spec("ray") is not None:
        theirs = sys.executable
    if not theirs:
        pytest.skip("no Ray: set HELIOSTAT_RAY_PYTHON to an interpreter that has it")
    folder = tmp_path_factory.mktemp("outcomes")
    return run(theirs, "ray", folder), run(sys.executable, "heliostat", folder)


def run(python, library, folder):
    """The outcome of every program; a library that crashes, as Ray may, gets a second process."""
    outcomes, file = {}, folder / library
    file.touch()
    for _ in range(2):
        missing = [name for name in NAMES if name not in outcomes]
        done = subprocess.run(
            [python, "-W", "ignore", str(PROGRAMS), library, *missing],
            env={**os.environ, "OUTCOMES": str(file)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        outcomes.update(map(json.loads, file.read_text().splitlines()))
        if done.returncode == 0:
            return outcomes
    raise AssertionError(done.stderr[-4000:])


@pytest.mark.parametrize("name", NAMES)
def test_a_program_comes_to_the_same(name, outcomes):
    theirs, ours = outcomes[0][name], outcomes[1][name]
    if name in REASONS:
        assert theirs != ours, f"the same now: take it out of REASONS ({REASONS[name]})"
    else:
        assert theirs == ours


def test_every_reason_is_for_a_program_that_exists():
    assert set(REASONS) <= set(NAMES)
