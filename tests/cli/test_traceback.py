"""Which frames a reader gets to see."""

import json
import sysconfig

import pytest
from hypothesis import given
from hypothesis import strategies as st

import heliostat
from heliostat.cli._traceback import HELIOSTAT, cut, trimmed

LIBRARY = sysconfig.get_paths()["purelib"]


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


def test_a_cause_inside_heliostat_is_left_out_where_the_error_tells_it():
    def fail(message):
        try:
            heliostat.get(5)
        except ValueError as error:
            raise RuntimeError(message.format(error)) from error.with_traceback(
                error.__traceback__.tb_next
            )

    told, untold = caught(lambda: fail("failed: {}")), caught(lambda: fail("failed"))
    assert "direct cause" not in trimmed(told).text
    assert "direct cause" in trimmed(untold).text


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


REMOTE = f"""\
RayTaskError(KeyError): KeyError in f() (pid=7): 'x'
Traceback (most recent call last):
  File "{HELIOSTAT}/_engines/local/worker/worker.py", line 1, in attempt
    outcome = function(*args)
              ^^^^^^^^^^^^^^^
  File "{LIBRARY}/pyarrow/table.py", line 2, in read
    called by Heliostat
  File "pyarrow/error.pxi", line 9, in pyarrow.lib.check_status
  File "/home/me/script.py", line 3, in f
    return g(x)
           ^^^^
  [Previous line repeated 3 more times]
  File "{LIBRARY}/pandas/frame.py", line 4, in get
    called by the user
KeyError: 'x'

Traceback (most recent call last):
  File "{HELIOSTAT}/data/_stage.py", line 1, in run
    nothing of the user's
ValueError: y
"""


def test_a_traceback_within_a_message_is_cut_too():
    text, hidden = cut(REMOTE)
    assert hidden == 4
    assert text.splitlines() == [
        "RayTaskError(KeyError): KeyError in f() (pid=7): 'x'",
        "Traceback (most recent call last):",
        '  File "/home/me/script.py", line 3, in f',
        "    return g(x)",
        "           ^^^^",
        "  [Previous line repeated 3 more times]",
        f'  File "{LIBRARY}/pandas/frame.py", line 4, in get',
        "    called by the user",
        "KeyError: 'x'",
        "",
        "ValueError: y",
    ]


def test_the_frames_of_a_group_are_cut_within_its_bars():
    def fail():
        try:
            heliostat.get(5)
        except ValueError as error:
            raise ExceptionGroup("several", [error, KeyError("b")]) from None

    text, hidden = trimmed(caught(fail))
    assert hidden == 1
    assert "_core/api.py" not in text
    assert "    | Traceback (most recent call last):" in text
    assert "    | KeyError: 'b'" in text


@given(st.text(alphabet=st.sampled_from('ab"\n |+')))
def test_text_without_frames_passes_unchanged(text):
    lines = "".join(f"{line}\n" for line in text.splitlines())
    assert cut(text) == (lines, 0)
