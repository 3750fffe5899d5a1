"""Chunks become lines: nothing is lost, nothing grows without bound."""

from hypothesis import given
from hypothesis import strategies as st

from heliostat._engines.local.output.lines import LONGEST, Lines, display


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\r", b"\n")), max_size=20))
def test_the_lines_are_those_of_the_whole_however_it_arrives(chunks):
    lines, whole = Lines(), b"".join(chunks)
    got = [line for chunk in chunks for line in lines.feed(chunk, 0.0)] + lines.end()
    assert got == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


def test_an_unfinished_line_is_due_after_a_while_and_then_goes_on():
    lines = Lines()
    assert lines.feed(b"loading ...", 5.0) == []
    assert lines.due() == 6.0
    assert lines.end() == [b"loading ..."]
    assert lines.due() is None
    assert lines.feed(b"\nnext\n\n", 7.0) == [b"next", b""]


def test_a_very_long_line_comes_in_pieces_that_tear_no_character():
    lines, data = Lines(), "é".encode() * LONGEST
    got = [line for at in range(0, len(data), 999) for line in lines.feed(data[at : at + 999], 0)]
    assert all(len(line) <= LONGEST for line in got)
    assert b"".join([*got, *lines.end()]) == data
    assert all(line.decode() for line in got)


def test_what_a_carriage_return_overwrites_is_shown_once_a_second():
    lines = Lines()
    got = [
        line for step in range(30) for line in lines.feed(f"\r {step}/30".encode(), 100 + step / 10)
    ]
    assert got == [b" 0/30", b" 10/30", b" 20/30"]
    assert lines.feed(b"\n", 103.0) == [b" 29/30"]


def test_lines_of_windows_lose_their_carriage_return():
    assert Lines().feed(b"one\r\ntwo\r\n", 0.0) == [b"one", b"two"]


def test_what_is_no_utf8_is_shown_as_escapes():
    assert display(b"caf\xe9", "(f pid=1) ") == r"(f pid=1) caf\xe9"


def test_a_json_object_stays_one():
    assert display(b'{"level": "info"}', "(f pid=1) ") == '{"level": "info"}'
    assert display(b"{not json}", "(f pid=1) ") == "(f pid=1) {not json}"


def test_colours_end_with_their_line():
    assert display(b"\x1b[31mred", "") == "\x1b[31mred\x1b[0m"
    assert display(b"\x1b[31mred\x1b[0m", "") == "\x1b[31mred\x1b[0m"
