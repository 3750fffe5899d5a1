"""What progress looks like, as pure text: live region, log lines, widths."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliostat.util._progress_text import Live, Notebook, Plain, View, _cells

SIZE = (100, 24)


def view(
    done=0.0, *, key=1, name="Read", total=None, note="", started=0.0, outcome="", unit="rows"
):
    return View(key, name, unit, started, done, total, note, outcome)


def visible(text):
    return re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", text).replace("\r", "")


def test_a_live_line_shows_share_count_rate_and_time_left():
    text = visible(Live().frame([view(250_000, total=1_000_000, note="ok")], [], 10.0, SIZE))
    for part in ("25%", "250,000 of 1,000,000 rows", "10.0 s"):
        assert part in text


def test_a_wide_terminal_shows_rate_time_left_and_note():
    text = visible(Live().frame([view(250_000, total=1_000_000, note="ok")], [], 10.0, (200, 24)))
    assert "25,000 rows/s" in text
    assert "30.0 s left" in text
    assert "ok" in text


def test_what_ends_at_once_leaves_no_trace():
    assert Live().frame([], [view(3, outcome="done")], 0.2, SIZE) == ""
    assert Plain().frame([], [view(3, outcome="done")], 0.2, SIZE) == ""


def test_a_log_says_nothing_for_a_second_then_less_and_less_often():
    plain = Plain()
    spoke = [
        tenth / 10
        for tenth in range(2000)
        if plain.frame([view(tenth, total=2000)], [], tenth / 10, SIZE)
    ]
    assert spoke == [1.0, 11.0, 22.0, 44.0, 88.0, 148.0]


def test_a_log_ends_each_piece_of_work_with_one_line():
    text = Plain().frame([], [view(1, unit="rounds", outcome="done", note="loss 0.5")], 2.0, SIZE)
    assert text == "Read: 1 round in 2.0 s, loss 0.5\n"


def test_a_failure_says_how_far_it_came():
    failed = view(20, total=80, outcome="failed with KeyError")
    assert Plain().frame([], [failed], 2.0, SIZE) == (
        "Read: failed with KeyError after 2.0 s at 20 of 80 rows\n"
    )
    text = visible(Live().frame([], [failed], 2.0, SIZE))
    assert "20 of 80 rows" in text
    assert "failed with KeyError" in text


def test_a_notebook_has_what_ended_above_what_is_open_and_no_escapes():
    notebook = Notebook()
    assert notebook.frame([view(3)], [], 0.2, SIZE) == ""
    assert "3 rows" in notebook.frame([view(3)], [], 1.0, SIZE)
    assert notebook.frame([view(4)], [], 1.1, SIZE) == ""  # so soon is too often
    ended, opened = view(9, outcome="done"), view(5, key=2, name="Write")
    rows = notebook.frame([opened], [ended], 1.2, SIZE).split("\n")
    assert [row.split()[1] for row in rows] == ["Read", "Write"]
    assert "\x1b" not in "".join(rows)
    assert (
        notebook.frame([], [view(5, key=2, name="Write", outcome="done")], 2.0, SIZE).count("✓")
        == 2
    )
    assert notebook.wipe() == ""


def test_more_lines_than_the_terminal_has_are_counted():
    views = [view(n, key=n, name=f"stage {n}") for n in range(30)]
    rows = visible(Live().frame(views, [], 1.0, (80, 10))).split("\n")
    assert len(rows) == 9
    assert "and 22 more" in rows[0]
    assert "stage 29" in rows[-1]


def test_lines_below_are_shown_where_there_is_room_and_cut_to_the_width():
    one = view(1)._replace(below=lambda: ["x" * 99, "a\x1b[2Jb"])
    rows = visible(Live(colour=False).frame([one], [], 1.0, (40, 10))).split("\n")
    assert [len(row) for row in rows[1:]] == [39, len(rows[2])]
    assert "\x1b" not in rows[2]
    assert visible(Live().frame([one], [], 1.0, (40, 3))).count("\n") == 0
    assert "x" not in visible(Live().frame([], [one._replace(outcome="done")], 1.0, (40, 10)))


def test_a_terminal_of_usual_width_shows_the_time_left_rather_than_a_bar():
    long = view(
        12, name="Tune trial_2026-11-27_14-21-36", total=24, note="2 running, best loss=1.4151"
    )
    text = visible(Live().frame([long._replace(unit="trials")], [], 4.0, (120, 24)))
    assert "4.0 s left" in text
    assert "best loss=1.4151" in text


def test_a_terminal_without_unicode_or_colour_gets_ascii():
    text = Live(unicode=False, colour=False).frame([view(5, total=10)], [], 1.0, SIZE)
    assert text.isascii()
    assert "\x1b[3" not in text
    assert "##########.........." in text


def test_control_characters_in_a_note_cannot_break_the_region():
    text = Live(colour=False).frame([view(5, note="a\nb\x1b[2Jc")], [], 1.0, SIZE)
    assert "\n" not in text
    assert "\x1b[2J" not in text


def test_wiping_twice_writes_once():
    live = Live()
    live.frame([view(5)], [], 1.0, SIZE)
    assert live.wipe() != ""
    assert live.wipe() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.96, "60.0 s"), (61, "1 min 01 s"), (3700, "1 h 01 min")]
)
def test_long_times_are_told_in_minutes_and_hours(seconds, text):
    assert text in Plain().frame([], [view(5, outcome="done")], seconds, SIZE)


@example(name="", note="", done=5e-324, total=1.0, width=1, elapsed=1.0)
@given(
    name=st.text(max_size=60),
    note=st.text(max_size=60),
    done=st.floats(0, 1e15),
    total=st.none() | st.floats(0, 1e15),
    width=st.integers(1, 200),
    elapsed=st.floats(0.5, 1e6),
)
def test_no_row_is_wider_than_the_terminal(name, note, done, total, width, elapsed):
    views = [view(done, name=name, note=note, total=total), view(1, key=2, name="Other")]
    ended = [view(done, key=3, name=name, note=note, total=total, outcome="done")]
    text = visible(Live().frame(views, ended, elapsed, (width, 24)))
    rows = text.split("\n")
    assert len(rows) == 3
    assert max(map(_cells, rows)) <= max(width - 1, 8)


def test_a_long_name_takes_the_room_that_the_rest_leaves():
    name = "Select(passenger_count, trip_distance) -> MapBatches(OfflinePredictor)"
    ended = view(5, name=name, outcome="done")
    assert name in visible(Live().frame([], [ended], 1.0, (110, 24)))
    assert name[:25] in visible(Live().frame([], [ended], 1.0, (80, 24)))
    assert name not in visible(Live().frame([], [ended], 1.0, (80, 24)))
