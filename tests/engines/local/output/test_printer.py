"""Output is written in order, by a thread that alone waits for a slow reader."""

import _thread
import io
import os
import sys
import threading

import pytest

from heliostat._engines.local.engine import RUNNING
from heliostat._engines.local.output.printer import MOST_BYTES, Printer, Source
from heliostat._engines.local.worker.stamps import Stamped
from heliostat.testing.clock import until

ME = ("f", 7)


class Slow(io.StringIO):
    """A terminal that takes nothing while it is stopped."""

    def __init__(self):
        super().__init__()
        self.goes = threading.Event()
        self.asked = threading.Event()

    def write(self, text):
        self.asked.set()
        self.goes.wait(20)
        return super().write(text)


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """Threads of `threading`, because coverage measures no others."""

    def start(function, args):
        threading.Thread(target=function, args=args).start()

    monkeypatch.setattr(_thread, "start_new_thread", start)


@pytest.fixture
def printer():
    printer = Printer(lambda: None, prefixed=True)
    yield printer
    printer.end()


def test_lines_of_both_streams_are_written_in_their_order(printer, monkeypatch):
    both = io.StringIO()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    out, err = Source(to_stderr=False), Source(to_stderr=True)
    for n in range(100):
        printer.put((out, err)[n % 2], ME, f"{n}\n".encode())
    printer.end()
    assert both.getvalue() == "".join(f"(f pid=7) {n}\n" for n in range(100))


def test_a_worker_whose_birth_was_not_told_yet_says_its_own_number(printer, monkeypatch):
    seen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", seen)
    ends = os.pipe()
    running = RUNNING.set(RUNNING.get()._replace(task=b"t", task_name="f"))
    with os.fdopen(ends[1], "wb"):
        stream = Stamped(ends[1])
        print("hello", file=stream)
        stream.close()
    RUNNING.reset(running)
    with os.fdopen(ends[0], "rb") as there:
        printer.put(Source(to_stderr=False), ("worker", None), there.read())
    printer.end()
    assert seen.getvalue() == f"(f pid={os.getpid()}) hello\n"


def test_an_unfinished_line_is_shown_after_a_while_and_at_the_end(printer, monkeypatch):
    seen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", seen)
    source = Source(to_stderr=False)
    printer.put(source, ME, b"loading")
    until(lambda: seen.getvalue() == "(f pid=7) loading\n", "it is shown")
    printer.put(source, ME, b"\nbye")
    printer.put(source, ME, b"")
    printer.end()
    assert seen.getvalue() == "(f pid=7) loading\n(f pid=7) bye\n"


def test_a_reader_that_takes_nothing_stops_the_reading_and_later_lets_it_go_on(monkeypatch):
    slow, drained = Slow(), threading.Event()
    monkeypatch.setattr(sys, "stdout", slow)
    printer, source = Printer(drained.set, prefixed=True), Source(to_stderr=False)
    printer.put(source, ME, b"first\n")
    assert slow.asked.wait(20)
    printer.settle()  # waits a moment, and then no more
    piece = b"x" * 999 + b"\n"
    taken = 0
    while printer.put(source, ME, piece):
        taken += 1
    assert taken <= MOST_BYTES // 1000
    assert not drained.is_set()
    slow.goes.set()
    assert drained.wait(20)
    printer.end()
    assert slow.getvalue().count("\n") == taken + 2


def test_a_stream_that_knows_few_characters_gets_escapes(printer, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    printer.put(Source(to_stderr=False), ME, "café\n".encode())
    printer.end()
    assert raw.getvalue() == b"(f pid=7) caf\\xe9\n"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_program_without_a_console_goes_on(printer, monkeypatch, stream):
    if stream is not None:
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    printer.put(Source(to_stderr=False), ME, b"nobody reads this\n")
    printer.end()
