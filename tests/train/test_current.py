import threading

import pytest

from heliostat.train import _current


def in_thread(function):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_thread_sees_its_own_session_among_several():
    def loop(name):
        _current.enter(name)
        try:
            return _current.session("x")
        finally:
            _current.leave(name)

    _current.enter("mine")
    try:
        assert in_thread(lambda: loop("other")) == "other"
        assert _current.session("x") == "mine"
    finally:
        _current.leave("mine")


def test_a_helping_thread_sees_the_only_session_but_never_guesses():
    def ask():
        try:
            return _current.session("report")
        except RuntimeError as error:
            return str(error)

    _current.enter("one")
    try:
        assert in_thread(ask) == "one"
        _current._live.append("two")
        assert "outside a training loop" in in_thread(ask)
        _current._live.remove("two")
    finally:
        _current.leave("one")
    with pytest.raises(RuntimeError, match=r"train.report\(\)"):
        _current.session("report")
