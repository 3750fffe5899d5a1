import threading

import pytest

from heliostat.train import current


def in_thread(function):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_thread_sees_its_own_session_among_several():
    def loop(name):
        current.enter(name)
        try:
            return current.session("x")
        finally:
            current.leave(name)

    current.enter("mine")
    try:
        assert in_thread(lambda: loop("other")) == "other"
        assert current.session("x") == "mine"
    finally:
        current.leave("mine")


def test_a_helping_thread_sees_the_only_session_but_never_guesses():
    def ask():
        try:
            return current.session("report")
        except RuntimeError as error:
            return str(error)

    current.enter("one")
    try:
        assert in_thread(ask) == "one"
        current._live.append("two")
        assert "outside a training loop" in in_thread(ask)
        current._live.remove("two")
    finally:
        current.leave("one")
    with pytest.raises(RuntimeError, match=r"train.report\(\)"):
        current.session("report")
