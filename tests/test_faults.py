"""Fault points fail when they are told to, in the process that is told, and never otherwise."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat
from heliostat import _faults

SOURCE = Path(heliostat.__file__).parent


@pytest.fixture(autouse=True)
def nothing_stays_injected() -> Iterator[None]:
    yield
    _faults.clear()


def reach(times: int, name: str = "store.write") -> list[int]:
    """Which of so many calls of a point fail."""
    failed = []
    for call in range(1, times + 1):
        try:
            _faults.point(name)
        except OSError:
            failed.append(call)
    return failed


def test_a_point_does_nothing_while_nothing_is_injected() -> None:
    assert reach(5) == []


def test_the_nth_call_fails_and_only_that() -> None:
    _faults.inject("store.write", "ENOSPC", nth=3)
    assert reach(6) == [3]


def test_as_many_calls_fail_as_are_asked_for() -> None:
    _faults.inject("store.write", "ENOSPC", nth=2, times=2)
    assert reach(6) == [2, 3]
    _faults.clear()
    _faults.inject("store.write", "ENOSPC", nth=2, times=0)
    assert reach(5) == [2, 3, 4, 5]


def test_other_points_do_not_fail() -> None:
    _faults.inject("store.write", "ENOSPC", times=0)
    assert reach(3, "worker.task") == []


def test_a_pattern_matches_several_points_that_count_together() -> None:
    fault = _faults.inject("worker.*", "EIO", nth=2)
    assert reach(1, "worker.task") == []
    assert reach(1, "worker.call") == [1]
    assert (fault.calls, fault.strikes) == (2, 1)


def test_an_exception_is_raised_as_it_is_given() -> None:
    _faults.inject("store.write", MemoryError("no more"))
    with pytest.raises(MemoryError, match="no more"):
        _faults.point("store.write")


def test_an_error_number_becomes_its_os_error() -> None:
    _faults.inject("store.write", "ENOSPC")
    with pytest.raises(OSError, match="No space left on device") as caught:
        _faults.point("store.write")
    assert caught.value.errno == errno.ENOSPC


def test_a_fault_ends_with_its_block() -> None:
    with _faults.inject("store.write", "EIO", times=0):
        assert reach(2) == [1, 2]
    assert reach(2) == []


def test_the_same_seed_fails_the_same_calls() -> None:
    def run(seed: int) -> list[int]:
        with _faults.inject("store.write", "EIO", times=0, p=0.3, seed=seed):
            return reach(100)

    assert run(1) == run(1) != run(2)
    assert 10 < len(run(1)) < 60


def test_forked_processes_draw_numbers_of_their_own() -> None:
    def run(number: int) -> list[int]:
        with _faults.inject("store.write", "EIO", times=0, p=0.3):
            _faults.forked(number)
            return reach(100)

    assert run(1) == run(1) != run(2)
    _faults.forked(0)


def test_a_line_in_the_environment_says_the_same() -> None:
    _faults.parse("store.write:ENOSPC:nth=2:times=2, worker.task:EIO")
    assert reach(5) == [2, 3]
    assert reach(3, "worker.task") == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store.wriet:EIO", "there is no fault point 'store.wriet'; there are store.write"),
        ("store.write:full", "'full' is no fault"),
        ("store.write:EIO:nth=x", "'nth=x' in 'store.write:EIO:nth=x' is no number"),
        ("store.write:EIO:nt=1", "has unknown nt"),
        ("store.write:EIO:nth=0", "nth must be >= 1"),
        ("store.write:EIO:p=2", "p above 0 and at most 1"),
    ],
)
def test_what_cannot_be_injected_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        _faults.parse(text)
    assert reach(3) == []


def test_every_point_in_the_source_is_listed_and_every_listed_one_is_there() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        if path.name != "_faults.py":
            found.update(re.findall(r'_faults\.point\("([^"]+)"\)', path.read_text()))
    assert found == set(_faults.POINTS)


def test_workers_take_theirs_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_faults.ENVIRONMENT, "worker.task:SIGKILL")

    @heliostat.remote(max_retries=0)
    def survive() -> str:
        return "alive"

    heliostat.init(num_cpus=1)
    try:
        with pytest.raises(heliostat.exceptions.WorkerCrashedError, match="SIGKILL"):
            heliostat.get(survive.remote())
    finally:
        heliostat.shutdown()
