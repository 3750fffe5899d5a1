"""Tables of trials: which are in it, in which order, and how."""

from heliostat import tune
from heliostat.tune._table import MOST_ROWS, summary
from heliostat.tune._trial import Trial

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
