"""What the driver says to a worker goes at once, unless more is sure to follow."""

import socket

import pytest

from heliostat._engines.local.messages import Cancel, Nudge, Send
from heliostat._engines.local.processes.launch import Ends
from heliostat._engines.local.transport.conn import Conn, Outbox
from heliostat._engines.local.transport.wire import Parser


class Box:
    """An outbox with one worker, whose end of the socket is read here."""

    def __init__(self) -> None:
        ours, self.worker = socket.socketpair()
        handover, self.other = socket.socketpair()
        self.worker.setblocking(False)
        self.parser = Parser()
        self.kept = 0
        self.watched: list[int] = []
        self.nudged: list[int] = []
        self.outbox = Outbox(self.keep, lambda _, events: self.watched.append(events), self.nudge)
        self.conn = Conn(1, Ends(ours, handover, -1, -1))
        self.outbox.conns[1] = self.conn

    def keep(self) -> None:
        self.kept += 1

    def nudge(self, proc: int) -> None:
        self.nudged.append(proc)

    def call(self, now: float, number: int = 0) -> None:
        self.outbox.send(Send(1, Cancel(b"%16d" % number, False)))
        self.outbox.called(now)

    def arrived(self) -> list[object]:
        try:
            return self.parser.feed(self.worker.recv(1 << 20))
        except BlockingIOError:
            return []

    def close(self) -> None:
        self.conn.close()
        self.worker.close()
        self.other.close()


@pytest.fixture
def box():
    box = Box()
    yield box
    box.close()


def test_a_call_to_an_idle_worker_goes_at_once(box):
    box.call(1.0)
    assert len(box.arrived()) == 1
    assert not box.kept


def test_calls_to_a_busy_worker_go_together_with_the_next_flush(box):
    box.conn.open = 3
    box.call(1.0)
    box.call(1.0)
    assert not box.arrived()
    assert box.kept == 2
    box.outbox.flush(lazily=False)
    assert len(box.arrived()) == 2


def test_calls_in_a_row_go_together_until_there_are_many(box):
    for number in range(5):
        box.call(1.0 + number * 1e-4, number)
    assert len(box.arrived()) == 5
    for number in range(63):
        box.call(1.001 + number * 1e-4, number)
    assert not box.arrived()
    box.call(1.008)
    assert len(box.arrived()) == 64


@pytest.mark.parametrize("pause", ["a wait", "time"])
def test_a_pause_ends_the_row(box, pause):
    for number in range(9):
        box.call(1.0, number)
    assert box.outbox.waits()
    box.outbox.flush(lazily=False)
    assert len(box.arrived()) == 9
    if pause == "time":
        box.outbox.called(1.0)
    box.call(1.0 if pause == "a wait" else 1.1)
    assert len(box.arrived()) == 1
    assert not box.outbox.waits()


def test_a_nudge_comes_after_what_was_sent(box):
    box.outbox.nudge(Nudge(1))
    box.outbox.send(Send(1, Cancel(bytes(16), False)))
    box.outbox.flush(lazily=True)
    assert box.nudged == [1]
    assert len(box.arrived()) == 1


def test_a_worker_that_does_not_read_is_waited_for_and_loses_nothing(box):
    box.conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for number in range(3000):
        box.outbox.send(Send(1, Cancel(b"%16d" % number, False)))
    box.outbox.flush(lazily=False)
    assert len(box.watched) == 1
    found: list[object] = []
    while len(found) < 3000:
        found += box.arrived()
        box.outbox.send_out(box.conn)
    assert [message.task for message in found] == [b"%16d" % number for number in range(3000)]


def test_a_worker_that_is_gone_is_sent_nothing(box):
    box.outbox.send(Send(2, Cancel(bytes(16), False)))
    assert not box.outbox.waits()
