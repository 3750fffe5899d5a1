"""The table that benchmarks print."""

from benchmarks.ratios import Row, show


def test_above_one_means_ours_is_better_whichever_way_better_is():
    assert Row("rate", "/s", "more", ours=(20.0,), baseline=(10.0,)).ratio == 2
    assert Row("time", "s", "less", ours=(2.0,), baseline=(4.0,)).ratio == 2


def test_without_a_baseline_there_is_no_ratio():
    assert Row("time", "s", "less", ours=(2.0,)).ratio is None


def test_a_missed_goal_is_marked_and_only_that(capsys):
    show(
        [
            Row("slow", "s", "less", (2.0,), (2.0,), goal=10),
            Row("fast", "s", "less", (0.1,), (2.0,), goal=10),
            Row("alone", "s", "less", (0.1,), goal=10),
        ],
        "ray",
    )
    rows = capsys.readouterr().out.splitlines()
    assert [("MISSED" in row) for row in rows if row] == [False, True, False, False]
