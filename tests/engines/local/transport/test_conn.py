"""Messages survive the way to bytes and back, however these arrive, and go out together where nobody waits for one."""

import socket
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import Cancel, Nudge, Send
from heliostat._engines.local.transport.conn import Conn, Ends, Outbox, Parser, encode


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


ID = st.binary(min_size=16, max_size=16)
VALUE = st.tuples(
    st.sampled_from([m.INLINE, m.ERROR, m.END]),
    st.binary(max_size=40),
    st.lists(st.binary(max_size=40), max_size=3).map(tuple),
    st.lists(ID, max_size=2).map(tuple),
)
MESSAGES = st.one_of(
    st.builds(m.Put, st.integers(0, 9), ID, VALUE),
    st.builds(m.Deliver, ID, VALUE),
    st.builds(m.Yielded, st.integers(0, 9), ID, st.integers(0, 9), VALUE),
    st.builds(m.Cancel, ID, st.booleans()),
    st.builds(m.Stop),
    st.builds(
        m.Finished,
        st.integers(0, 9), ID, st.lists(VALUE, max_size=2).map(tuple), st.integers(0, 2),
        st.floats(0, 1), st.lists(st.tuples(ID, st.integers(1, 3)), max_size=2).map(tuple),
    ),
)  # fmt: skip


@given(
    st.lists(st.lists(MESSAGES, min_size=1, max_size=4), max_size=5),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_any_cut_gives_the_same_messages(frames: list[list[Any]], cuts: list[int]) -> None:
    data = b"".join(encode(frame) for frame in frames)
    parser, got, position = Parser(), [], 0
    while position < len(data):
        step = cuts[position % len(cuts)]
        got.extend(parser.feed(data[position : position + step]))
        position += step
    sent = [message for frame in frames for message in frame]
    assert got == sent
    assert [type(message) for message in got] == [type(message) for message in sent]


def test_buffers_arrive_as_bytes() -> None:
    value: m.Value = (m.INLINE, memoryview(b"pickle"), (memoryview(b"buffer"), bytearray(b"x")), ())
    (got,) = Parser().feed(encode([m.Put(1, bytes(16), value)]))
    assert got.value == (m.INLINE, b"pickle", (b"buffer", b"x"), ())


def test_a_large_message_takes_time_by_its_size_alone() -> None:
    data = memoryview(encode([m.Put(1, bytes(16), (m.INLINE, bytes(100 << 20), (), ()))]))
    began, parser = time.monotonic(), Parser()
    got = [one for at in range(0, len(data), 1 << 14) for one in parser.feed(data[at:][: 1 << 14])]
    assert len(got) == 1
    assert time.monotonic() - began < 10, "what has come was copied with all that came before"


def test_a_large_message_and_those_after_it_are_sent_by_their_size_alone(box) -> None:
    began, got = time.monotonic(), []
    for number, size in enumerate((64 << 20, 1, 1)):
        put = m.Put(1, bytes([number]) * 16, (m.INLINE, bytes(size), (), ()))
        box.conn.out.append(put)
        box.conn.encode()
    while not box.conn.send():
        got += box.arrived()
    while len(got) < 3:
        got += box.arrived()
    assert [one[1][0] for one in got] == [0, 1, 2]
    assert time.monotonic() - began < 10


def test_a_large_message_that_was_sent_is_not_held(box) -> None:
    tracemalloc.start()
    try:
        box.conn.out.append(m.Put(1, bytes(16), (m.INLINE, bytes(8 << 20), (), ())))
        box.conn.encode()
        while not box.conn.send():
            box.worker.recv(1 << 20)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 << 20


def test_every_kind_of_message_has_a_number_of_its_own() -> None:
    assert len(set(m.WIRE)) == len(m.WIRE)
