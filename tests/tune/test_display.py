"""What people see: the line, tables and what is in them, and failures without a flood."""

import pytest

from heliostat import tune
from heliostat.tune._display import MOST_ROWS, MOST_TRACEBACKS, Display, summary
from heliostat.tune._trial import Trial
from heliostat.tune.progress_reporter import ProgressReporter

ENGINE = None
SPACE = {"params": {"depth": tune.randint(1, 9)}, "fixed": 1}


def make(n, state="TERMINATED", **result):
    return Trial(
        f"t_{n}",
        "f",
        {"params": {"depth": n}, "fixed": 1},
        "0",
        "/x",
        {},
        state=state,
        last_result=result and {"training_iteration": 2, "time_total_s": 0.5, **result},
        error=ValueError("bad") if state == "ERROR" else None,
    )


class Line:
    """A stand-in for a live line: it keeps what it was told."""

    def update(self, done, total=None, note=""):
        self.said = (done, total, note)


def test_only_the_first_failures_are_shown_in_full(capsys):
    display = Display(Line(), SPACE, None, None)
    for n in range(10):
        display.failed(make(n, "ERROR"))
    said = capsys.readouterr().err
    assert said.count("ValueError: bad") == MOST_TRACEBACKS
    assert "counted, not shown" in said


def test_a_quiet_study_says_nothing(capsys):
    display = Display(None, SPACE, "loss", "min")
    display.failed(make(1, "ERROR"))
    display.finish([make(1, loss=1.0)], "/x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("mode", "best"), [("min", "1"), ("max", "2")])
def test_the_line_has_counts_and_the_best_value(mode, best):
    class Study:
        running, failed, ended, total = 2, 1, 3, float("inf")

    line = Line()
    display = Display(line, SPACE, "loss", mode)
    display.saw(make(1, loss=1.0))
    display.saw(make(2, loss=2.0))
    display.saw(make(3))
    display.interrupted = True
    display.update(Study())
    assert line.said == (3, None, f"2 running, 1 failed, best loss={best}, stopping")


def test_the_best_that_have_ended_are_below_the_line_while_a_study_runs():
    line = Line()
    display = Display(line, SPACE, "loss", "min")
    assert line.below() == []
    for number in range(9, 0, -1):
        display.saw(make(number, loss=float(number)))
    title, _, *shown = line.below()
    assert title.endswith("loss")
    assert [row.split()[-1] for row in shown] == ["1", "2", "3", "4", "5"]
    Display(line, SPACE, None, None).saw(make(1, loss=1.0))
    assert line.below() == []  # without a metric none is better


def test_the_end_says_where_the_results_are_and_how_to_go_on(capsys):
    display = Display(Line(), SPACE, "loss", "min")
    display.interrupted = True
    display.finish([make(1, loss=1.0)], "/results/study")
    said = capsys.readouterr()
    assert "Results: /results/study" in said.out
    assert "Tuner.restore('/results/study'" in said.err


def test_a_reporter_reports_in_place_of_the_line_and_the_last_table(capsys):
    class Count(ProgressReporter):
        def should_report(self, trials, done=False):
            return len(trials) > 1

        def report(self, trials, done, *sys_info):
            print(f"{len(trials)} trials, {done=}")

    class Study:
        def __init__(self, *trials):
            self.get_trials = lambda: list(trials)

    display = Display(None, SPACE, "loss", "min", Count())
    display.update(Study(make(1)))
    display.update(Study(make(1), make(2)))
    display.failed(make(2, "ERROR"))
    display.finish([make(1, loss=1.0)], "/x")
    said = capsys.readouterr()
    assert said.out == "2 trials, done=False\n1 trials, done=True\nResults: /x\n"
    assert "ValueError: bad" in said.err


def test_the_best_trial_is_on_top_and_failed_ones_below():
    trials = [make(1, loss=3.0), make(2, "ERROR"), make(3, loss=1.25), make(4, loss=float("nan"))]
    text = summary(trials, SPACE, "loss", "min").splitlines()
    assert text[0] == "4 trials: 3 terminated, 1 failed"
    assert text[1].split() == ["trial", "status", "params/depth", "iter", "time", "(s)", "loss"]
    assert [row.split()[0] for row in text[3:]] == ["f_t_3", "f_t_1", "f_t_4", "f_t_2"]
    assert text[3].split() == ["f_t_3", "TERMINATED", "3", "2", "0.5", "1.25"]


def test_a_long_table_shows_its_best_rows():
    trials = [make(n, loss=float(-n)) for n in range(100)]
    text = summary(trials, SPACE, "loss", "min")
    assert f"the best {MOST_ROWS}:" in text
    assert "f_t_99 " in text
    assert "f_t_0 " not in text


def test_without_a_metric_the_order_stays_and_numbers_are_shown():
    text = summary([make(1, b=2, note="x"), make(2, b=1)], {}, None, "max")
    assert text.splitlines()[1].split() == ["trial", "status", "iter", "time", "(s)", "b"]
    assert text.index("f_t_1") < text.index("f_t_2")


def test_a_study_without_trials_has_a_table_too():
    assert summary([], SPACE, "loss", "min").startswith("0 trials")
