"""Small programs under Ray and under Heliostat come to the same, but for what reasons.toml lists.

Needs an interpreter that has Ray: HELIOSTAT_RAY_PYTHON, or this one; with what the programs use of
others' (pip install "ray[default,data,tune,serve]" joblib polars torch). Each file of programs runs
in one process per library, with one session.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
PARTS = ("core", "util", "state", "data", "train", "tune", "serve")
# Programs whose outcome differs, and why it stays so; docs/compatibility.md shows them.
REASONS = tomllib.loads((HERE / "reasons.toml").read_text())


def script(part):
    return HERE / "programs" / f"{part}.py"


def names_in(part):
    return re.findall(r"^@program\ndef (\w+)", script(part).read_text(), flags=re.MULTILINE)


CASES = [(part, name) for part in PARTS for name in names_in(part)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """A function: what every program of a part comes to, under Ray and under Heliostat."""
    theirs = os.environ.get("HELIOSTAT_RAY_PYTHON")
    if not theirs and importlib.util.find_spec("ray") is not None:
        theirs = sys.executable
    if not theirs:
        pytest.skip("no Ray: set HELIOSTAT_RAY_PYTHON to an interpreter that has it")
    folder, known = tmp_path_factory.mktemp("outcomes"), {}

    def of(part):
        if part not in known:
            both = ((theirs, "ray"), (sys.executable, "heliostat"))
            known[part] = [run(python, library, part, folder) for python, library in both]
        return known[part]

    return of


def run(python, library, part, folder):
    """The outcome of every program; one that was late, or crashed as Ray may, gets a second process."""
    outcomes, file = {}, folder / f"{part}-{library}"
    file.touch()
    for is_last in (False, True):
        missing = [name for name in names_in(part) if name not in outcomes]
        done = subprocess.run(
            [python, "-W", "ignore", str(script(part)), library, *missing],
            env={**os.environ, "OUTCOMES": str(file)},
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        said = map(json.loads, file.read_text().splitlines())
        outcomes |= {name: one for name, one in said if is_last or one != {"late": True}}
        if done.returncode == 0 and outcomes.keys() >= set(names_in(part)):
            return outcomes
    raise AssertionError(done.stderr[-4000:])


@pytest.mark.parametrize(("part", "name"), CASES)
def test_a_program_comes_to_the_same(part, name, outcomes):
    theirs, ours = (of[name] for of in outcomes(part))
    reason = REASONS.get(part, {}).get(name)
    if reason is not None:
        assert theirs != ours, f"the same now: take it out of reasons.toml ({reason})"
    else:
        assert theirs == ours


def test_every_reason_is_for_a_program_that_exists():
    assert {(part, name) for part, reasons in REASONS.items() for name in reasons} <= set(CASES)


def test_there_are_two_hundred_programs_and_more():
    assert len(CASES) == len(set(CASES)) >= 200
