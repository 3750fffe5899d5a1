"""Whoever waits reads: one leader at a time, and nobody sleeps while there is work for it."""

import threading

from heliostat._engines.local.transport.waiting import Lead, Waiter
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
