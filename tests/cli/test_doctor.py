"""`heliostat doctor` says what it has seen, and how to mend what is wrong."""

import json
import resource

import pytest

from heliostat.cli import _doctor, main


def test_a_machine_that_runs_the_tests_is_well(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for check in ("python: 3.", "memory: ", "/dev/shm: ", "open files: ", "packages for data: "):
        assert check in shown
    assert main(["doctor", "--json"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} <= {"ok", "note"}


def test_few_open_files_are_noted_with_the_command_that_allows_more(capsys, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        main(["doctor"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert f"ulimit -n {hard}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("packages", "state", "remedy"),
    [
        ({"no-such-package": "1.0"}, "note", "pip install 'heliostat[data]'"),
        ({"pytest": "999.0"}, "bad", "pip install 'pytest>=999.0'"),
        ({"pytest": "1.0"}, "ok", ""),
    ],
)
def test_packages_are_missing_too_old_or_fine(packages, state, remedy):
    finding = _doctor._extra("data", packages)
    assert (finding.state, remedy in finding.remedy) == (state, True)
