import threading

import pytest

from heliostat.train._sender import Sender


def test_work_is_done_in_order_in_a_thread_of_its_own():
    sender, done = Sender("train-upload"), []
    for n in range(5):
        sender.submit(lambda n=n: done.append((n, threading.current_thread().name)))
    sender.drain()
    assert done == [(n, "train-upload") for n in range(5)]
    sender.close()


def test_what_work_raises_comes_out_later_and_nothing_is_done_after_it():
    sender, done = Sender("train-upload"), []

    def fail():
        raise OSError("disk full")

    sender.submit(fail)
    sender._work.join()
    sender._work.put(lambda: done.append(1))
    with pytest.raises(OSError, match="disk full"):
        sender.drain()
    assert done == []
    sender.close()


def test_close_waits_for_the_piece_at_hand_and_passes_over_the_rest():
    sender, done = Sender("train-upload"), []
    begun, go = threading.Event(), threading.Event()

    def first():
        begun.set()
        assert go.wait(10)
        done.append("first")

    sender.submit(first)
    sender.submit(lambda: done.append("second"))
    assert begun.wait(10)
    closer = threading.Thread(target=sender.close)
    closer.start()
    go.set()
    closer.join(10)
    assert done in (["first"], ["first", "second"])  # it may be through before close is heard
    assert not any(t.name == "train-upload" for t in threading.enumerate())


def test_a_sender_without_work_has_no_thread():
    sender = Sender("train-upload")
    sender.drain()
    sender.close()
    assert sender._thread is None
