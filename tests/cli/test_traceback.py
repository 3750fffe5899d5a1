"""Which frames a reader gets to see."""

import json

import pytest

import heliostat
from heliostat.cli._traceback import trimmed


def caught(function):
    with pytest.raises((ValueError, RuntimeError, ExceptionGroup)) as info:
        function()
    return info.value


def test_a_library_that_the_user_called_is_shown():
    text, hidden = trimmed(caught(lambda: json.loads("{")))
    assert "json/decoder.py" in text
    assert hidden == 0


def test_heliostat_and_what_it_calls_is_left_out_of_causes_too():
    def fail():
        try:
            heliostat.get(5)
        except ValueError as error:
            raise RuntimeError("outer") from error

    text, hidden = trimmed(caught(fail))
    assert hidden == 1
    assert "_core/api.py" not in text
    assert "direct cause" in text
    assert text.count("test_traceback.py") == 3


def test_an_exception_group_keeps_its_members():
    def fail():
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    text, _ = trimmed(caught(fail))
    assert "ValueError: a" in text
    assert "KeyError: 'b'" in text


def test_the_whole_traceback_leaves_nothing_out():
    text, hidden = trimmed(caught(lambda: heliostat.get(5)), whole=True)
    assert "_core/api.py" in text
    assert hidden == 0
