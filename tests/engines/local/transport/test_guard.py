"""Ctrl-C never finds the tables torn, is never lost, and strikes the main thread only."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from heliostat._engines.local.transport.guard import Guard
from heliostat._engines.local.transport.waiting import Lead, Waiter

SIGNALS = 100


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard(lambda event: None)
    yield guard
    guard.close()


def interrupt(after: threading.Event, ended: threading.Event) -> None:
    """Send SIGINT again and again, each when the main thread is ready for the next."""
    for _ in range(SIGNALS):
        if not after.wait(10):  # it has failed: leave others alone
            return
        after.clear()
        os.kill(os.getpid(), signal.SIGINT)
    ended.set()


@pytest.mark.usefixtures("untraced")  # an interrupt inside of its tracer would keep its lock
def test_each_interrupt_is_raised_once_and_outside_of_the_tables(guard: Guard) -> None:
    ready, ended, stop = threading.Event(), threading.Event(), threading.Event()
    strays: list[BaseException] = []

    def others() -> None:
        sys.settrace(None)
        try:
            while not stop.is_set():
                with guard:
                    pass
        except BaseException as error:  # noqa: BLE001 - looked at below
            strays.append(error)

    threads = [
        threading.Thread(target=interrupt, args=(ready, ended)),
        *(threading.Thread(target=others) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    raised, inside = 0, False
    deadline = time.monotonic() + 60
    ready.set()
    try:
        while raised < SIGNALS and time.monotonic() < deadline:
            try:
                while time.monotonic() < deadline:
                    guard.enter()
                    inside = True
                    inside = False
                    guard.leave()
            except KeyboardInterrupt:
                assert not inside
                raised += 1
                ready.set()
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert raised == SIGNALS
    assert ended.is_set()
    assert not strays
    with guard:  # nobody has kept the lock
        pass


def test_who_is_in_the_tables_already_is_told(guard: Guard) -> None:
    assert guard.enter()
    assert not guard.enter()
    guard.leave()
    guard.leave()
    assert guard.enter()
    guard.leave()


def test_an_event_of_a_finaliser_is_handled_by_who_leaves() -> None:
    late: list[int] = []
    guard = Guard(late.append)
    with guard:
        with guard:
            guard.postpone(1)
        assert not late
    assert late == [1]
    guard.close()


def test_callbacks_are_called_when_nobody_is_inside(guard: Guard) -> None:
    seen: list[bool] = []
    with guard:
        guard.callbacks.append(lambda: seen.append(guard.enter()))
    assert seen == [True]
    guard.leave()


@pytest.mark.usefixtures("untraced")
def test_an_interrupted_leader_gives_the_lead_back(guard: Guard) -> None:
    lead, missing = Lead(lambda timeout_s, ready: None, lambda: None), Waiter(1)
    ready, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=interrupt, args=(ready, ended))
    thread.start()
    raised, deadline = 0, time.monotonic() + 60
    ready.set()
    while raised < SIGNALS and time.monotonic() < deadline:
        try:
            while time.monotonic() < deadline:
                lead.wait(missing, 0)
                lead.try_read(0)
        except KeyboardInterrupt:
            raised += 1
            assert not lead.taken()
            ready.set()
    thread.join(10)
    assert raised == SIGNALS
    assert ended.is_set()
