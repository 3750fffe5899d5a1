"""Whoever waits reads, and nobody sleeps while there is work; Ctrl-C never finds the tables torn."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from heliostat._engines.local.transport.waiting import Guard, Lead, Waiter
from heliostat.testing.clock import until


class Source:
    """Something to read: each arrival counts one waiter down."""

    def __init__(self) -> None:
        self.lead = Lead(self.read, self.arrived)
        self.looks = 0
        self.arrivals: list[Waiter] = []
        self.something = threading.Condition()
        self.readers = self.most = 0

    def arrived(self) -> list[Waiter]:
        self.looks += 1
        return self.arrivals

    def read(self, timeout_s: float | None, ready: object) -> None:
        self.readers += 1
        self.most = max(self.most, self.readers)
        with self.something:
            if not self.arrivals:
                self.something.wait(0.05 if timeout_s is None else min(timeout_s, 0.05))
            arrived, self.arrivals = self.arrivals, []
        for waiter in arrived:
            waiter.missing -= 1
            if waiter.missing <= 0:
                waiter.wake()
        self.readers -= 1

    def arrive(self, waiter: Waiter) -> None:
        with self.something:
            self.arrivals.append(waiter)
            self.something.notify()


def test_a_waiter_that_misses_nothing_does_not_read() -> None:
    source = Source()
    assert source.lead.wait(Waiter(), None)
    assert source.most == 0


def test_a_lone_waiter_reads_for_itself() -> None:
    source, waiter = Source(), Waiter(missing=1)
    source.arrive(waiter)
    assert source.lead.wait(waiter, 5.0)


def test_waiting_ends_with_its_time() -> None:
    source = Source()
    assert not source.lead.wait(Waiter(missing=1), 0.02)
    assert not source.lead.taken()
    assert not source.lead.has_followers()


def test_many_waiters_are_all_served_by_one_reader_at_a_time() -> None:
    source = Source()
    waiters = [Waiter(missing=2) for _ in range(20)]
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda w=waiter: done.append(source.lead.wait(w, 10.0)))
        for waiter in waiters
    ]
    for thread in threads:
        thread.start()
    for waiter in [*waiters, *reversed(waiters)]:
        source.arrive(waiter)
    for thread in threads:
        thread.join()
    assert done == [True] * 20
    assert source.most == 1
    assert not source.lead.has_followers()


def test_a_follower_takes_the_lead_when_the_leader_leaves() -> None:
    source = Source()
    first, second = Waiter(missing=1), Waiter(missing=1)
    results: list[bool] = []
    leader = threading.Thread(target=lambda: results.append(source.lead.wait(first, 10.0)))
    leader.start()
    until(source.lead.taken)
    follower = threading.Thread(target=lambda: results.append(source.lead.wait(second, 10.0)))
    follower.start()
    until(source.lead.has_followers)
    source.arrive(first)
    leader.join()
    source.arrive(second)
    follower.join()
    assert results == [True, True]


def test_who_reads_once_does_not_wait_for_the_lead() -> None:
    source, waiter = Source(), Waiter(missing=1)
    leader = threading.Thread(target=lambda: source.lead.wait(waiter, 10.0))
    leader.start()
    until(source.lead.taken)
    assert not source.lead.try_read(0)
    source.arrive(waiter)
    leader.join()
    assert source.lead.try_read(0)


def test_a_leader_looks_out_only_after_a_short_wait() -> None:
    source, waiter = Source(), Waiter(missing=1)
    assert not source.lead.wait(waiter, 0.02)  # a long wait
    source.arrive(waiter)
    assert source.lead.wait(waiter, 5.0)
    assert source.looks == 0


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
