"""Equal lines of several workers become one with a count, and no line is lost to that."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from heliostat._engines.local.output.repeats import Repeats


def shown(repeats, *lines):
    """What is shown of `(time, source, text)`."""
    found = []
    for now, source, text in lines:
        found += repeats.over(now)
        line = (False, f"({source}) ", text)
        if repeats.shows(line, source, now):
            found.append(line)
    return [prefix + line.decode() for _, prefix, line in found + repeats.over(float("inf"))]


def test_the_same_line_of_others_is_shown_once_with_their_number():
    lines = [(0, 1, b"loading"), (1, 2, b"loading"), (2, 3, b"loading"), (6, 4, b"loading")]
    assert shown(Repeats(5), *lines) == [
        "(1) loading",
        "(3) loading [repeated 2x across cluster]",
        "(4) loading",
    ]


def test_the_same_line_of_one_other_is_shown_as_it_is():
    assert shown(Repeats(5), (0, 1, b"x"), (1, 2, b"x")) == ["(1) x", "(2) x"]


def test_what_one_worker_repeats_is_not_folded():
    assert shown(Repeats(5), *[(0, 1, b"tick")] * 3) == ["(1) tick"] * 3


def test_lines_that_differ_in_a_number_are_not_folded():
    assert shown(Repeats(5), (0, 1, b"step 1"), (0, 2, b"step 2")) == ["(1) step 1", "(2) step 2"]


def test_json_and_empty_lines_are_not_folded():
    lines = [(0, source, text) for text in (b'{"a": 1}', b"", b"  ") for source in (1, 2, 3)]
    assert len(shown(Repeats(5), *lines)) == 9


def test_colours_end_before_the_count():
    lines = [(0, source, b"\x1b[31mred") for source in (1, 2, 3)]
    assert shown(Repeats(5), *lines)[-1] == "(3) \x1b[31mred\x1b[0m [repeated 2x across cluster]"


def test_many_different_lines_are_not_remembered_without_end():
    repeats = Repeats(1e9)
    many = [(0, source, f"{n}".encode()) for n in range(3000) for source in (1, 2, 3)]
    assert len(shown(repeats, *many)) == 6000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([b"a", b"b"]))))
def test_every_line_is_shown_or_counted(steps):
    now, lines = 0, []
    for wait, source, text in steps:
        now += wait
        lines.append((now, source, text))
    counts = Counter()
    for line in shown(Repeats(4), *lines):
        text, _, repeated = line.partition(" [repeated ")
        counts[text[-1]] += int(repeated.partition("x")[0] or 1)
    assert counts == Counter(text.decode() for _, _, text in lines)
