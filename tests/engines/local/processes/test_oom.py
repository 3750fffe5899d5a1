"""Who is ended when memory runs out."""

import os

import pytest

from heliostat._engines.local.processes import oom
from heliostat._engines.local.processes.oom import choose
from heliostat._engines.local.scheduling.worker_scheduler import Usage

MB = 10**6


def usage(proc, *, rss=100, limit=0, since=0.0, retriable=True):
    return Usage(proc, f"task {proc}", rss * MB, limit * MB, since, retriable)


def test_nobody_is_ended_while_there_is_memory():
    assert choose([usage(1), usage(2, limit=200)], 949, 1000, 0.95) is None
    assert choose([], 1000, 1000, 0.95) is None
    assert choose([usage(1)], 1000, 1000, 1.0) is None  # that is for the kernel to do


def test_whoever_is_over_its_own_limit_is_ended_whatever_else_is_free():
    victim = choose([usage(1, rss=900), usage(2, rss=201, limit=200)], 1, 1000, 0.95)
    assert victim == (
        2, "task 2 used 201.0 MB, more than the 200.0 MB that it asked for with memory="
    )  # fmt: skip


def test_of_a_full_machine_the_last_that_may_be_repeated_is_ended():
    workers = [
        usage(1, since=1),
        usage(2, since=2),
        usage(3, since=3, retriable=False),
    ]
    victim = choose(workers, 960 * MB, 1000 * MB, 0.95)
    assert victim is not None
    assert victim.proc == 2
    assert victim.reason == (
        "the memory of the machine or container was nearly full (960.0 MB of 1.0 GB), and task 2, "
        "which used 100.0 MB, had begun last"
    )
    assert choose(workers[2:], 960, 1000, 0.95).proc == 3


def test_the_threshold_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("HELIOSTAT_MEMORY_THRESHOLD", raising=False)
    assert oom.threshold() == 0.95
    monkeypatch.setenv("HELIOSTAT_MEMORY_THRESHOLD", "0.5")
    assert oom.threshold() == 0.5
    for wrong in ("half", "0", "1.5"):
        monkeypatch.setenv("HELIOSTAT_MEMORY_THRESHOLD", wrong)
        with pytest.raises(ValueError, match=f"at most 1, got '{wrong}'"):
            oom.threshold()


def test_what_there_is_is_read_from_the_system():
    used, total = oom.machine_bytes()
    assert 0 < used < total
    assert oom.private_bytes(os.getpid()) > 1 * MB
    assert oom.private_bytes(None) == 0


def test_the_less_is_left_the_sooner_it_looks_again():
    pauses = [oom.pause_s(used, 10**9, 0.95) for used in range(0, 10**9, 10**8)]
    assert pauses == sorted(pauses, reverse=True)
    assert oom.pause_s(10**9, 10**9, 0.95) == oom.OFTEN_S
    assert oom.pause_s(10**9, 16 * 10**9, 0.95) == oom.SELDOM_S


def test_the_kernel_is_asked_for_news_only():
    kernel = oom.Kernel()
    assert not kernel.has_ended(oom.machine_bytes()[1])
