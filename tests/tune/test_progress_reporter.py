"""Reporters: what is in their tables, how often they come, and where they are shown."""

import sys
import types

import pytest

from heliostat import tune
from heliostat.tune import progress_reporter
from heliostat.tune._trial import Trial
from heliostat.tune.progress_reporter import TrialProgressCallback, Verbosity

SPACE = {"lr": tune.uniform(0, 1), "net": {"width": tune.randint(1, 9)}, "fixed": 1}


def make(name, state="TERMINATED", lr=0.5, **result):
    config = {"lr": lr, "net": {"width": 3}, "fixed": 1}
    trial = Trial(name, "f", config, "0", f"/study/{name}", {}, state=state, last_result=result)
    trial.num_failures = int(state == "ERROR")
    return trial


TRIALS = [
    make("a", loss=3.0, acc=0.1),
    make("b", loss=1.0, acc=0.9, lr=0.123456789),
    make("c", "RUNNING", loss=2.0, acc=0.5),
    make("d", "ERROR"),
]


def report(capsys, trials=TRIALS, done=False, **options):
    reporter = tune.CLIReporter(**options)
    reporter.setup(0.0, 8, "loss", "min", param_space=SPACE)
    reporter.report(trials, done, "memory is fine")
    return capsys.readouterr().out.splitlines()


def test_counts_and_the_best_trial_come_first_then_trials_that_run(capsys):
    lines = report(capsys)
    assert lines[0].startswith("4 of 8 trials, 2 terminated, 1 running, 1 error, ")
    assert lines[0].endswith(" s left")
    assert lines[1] == "memory is fine"
    assert lines[2].startswith("Best so far: f_b with loss=1 and {'lr': 0.123456789")
    assert lines[3].split()[:4] == ["trial", "status", "lr", "net/width"]
    assert [line.split()[0] for line in lines[5:9]] == ["f_c", "f_a", "f_b", "f_d"]
    assert lines[-1].split() == ["f_d", "1", "/study/d/error.txt"]


def test_the_best_are_on_top_if_asked_and_the_rest_are_counted(capsys):
    lines = report(capsys, sort_by_metric=True, max_progress_rows=2)
    assert [line.split()[0] for line in lines[5:8]] == ["f_b", "f_c", "..."]
    assert lines[7] == "... and 2 more"


def test_columns_have_the_names_that_users_give(capsys):
    options = {"metric_columns": {"acc": "accuracy"}, "parameter_columns": ["net/width"]}
    lines = report(capsys, **options, max_column_length=4)
    assert lines[3].split()[2:] == ["net/width", "iter", "time", "(s)", "accuracy"]
    reporter = tune.CLIReporter(parameter_columns=[], metric_columns=[])
    reporter.add_parameter_column("lr", "rate")
    reporter.add_metric_column("acc")
    reporter.report(TRIALS, True)
    titles = capsys.readouterr().out.splitlines()[1]
    assert titles.split() == ["trial", "status", "rate", "iter", "time", "(s)", "acc"]


def test_tables_may_come_at_the_end_only(capsys):
    assert len(report(capsys, print_intermediate_tables=False)) == 3
    assert len(report(capsys, print_intermediate_tables=False, done=True)) > 3


def test_it_reports_now_and_then_and_always_at_the_end(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_reporter.time, "time", lambda: now[0])
    reporter = tune.CLIReporter(max_report_frequency=5)
    reporter.setup()
    asked = []
    for now[0] in (101.0, 106.0, 107.0, 112.0):
        asked.append(reporter.should_report([]))
    assert asked == [False, True, False, True]
    assert reporter.should_report([], done=True)


def test_a_study_without_reports_has_no_best_trial(capsys):
    assert not any("Best" in line for line in report(capsys, [make("a", "RUNNING")]))


def test_a_reporter_of_ones_own_must_say_when_and_what():
    for call in (lambda r: r.should_report([]), lambda r: r.report([], False)):
        with pytest.raises(NotImplementedError, match="ProgressReporter must override"):
            call(tune.ProgressReporter())
    with pytest.raises(ValueError, match="'best'"):
        tune.CLIReporter(mode="best")


def test_a_study_reports_by_the_reporter_it_is_given(run_study, capsys):
    reporter = tune.CLIReporter(max_report_frequency=0)
    run = {"progress_reporter": reporter, "verbose": 1}
    run_study(lambda config: {"loss": config["lr"]}, SPACE, run=run, metric="loss", mode="min")
    out = capsys.readouterr().out
    assert "1 of 1 trials, 1 terminated" in out
    assert "Best so far: lambda_" in out
    with pytest.raises(TypeError, match=r"must be a tune\.ProgressReporter or None, got 3"):
        tune.Tuner(lambda config: 1, run_config=tune.RunConfig(progress_reporter=3))


@pytest.fixture
def notebook(monkeypatch):
    """A process that looks like a notebook's kernel, and what it has shown."""
    shown = []

    class ZMQInteractiveShell:
        pass

    screen = types.ModuleType("IPython.display")

    class Output:
        def __init__(self, page, raw, display_id):
            self.place = len(shown)
            shown.append(page["text/html"])

        def update(self, page, raw):
            shown[self.place] = page["text/html"]

    screen.display = Output
    package = types.ModuleType("IPython")
    package.get_ipython = ZMQInteractiveShell
    package.display = screen
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", screen)
    return shown


def test_a_notebook_shows_the_newest_tables_only(notebook):
    reporter = tune.JupyterNotebookReporter(max_progress_rows=3)
    reporter.setup(metric="loss", mode="min", param_space=SPACE)
    reporter.report(TRIALS[:1], False)
    reporter.report([*TRIALS, make("<x>", "RUNNING")], True)
    [page] = notebook
    assert page.count("<table>") == 2
    assert "f_&lt;x&gt;" in page
    assert "3 trials are shown, 2 more are not" in page
    reporter.setup(metric="loss", mode="min", param_space=SPACE)
    reporter.report(TRIALS, True)
    assert len(notebook) == 2
    another = tune.JupyterNotebookReporter(overwrite=False)
    another.report(TRIALS, False)
    another.report(TRIALS, True)
    assert len(notebook) == 4


def test_a_study_in_a_notebook_has_tables_without_asking(notebook, run_study):
    space = {"loss": tune.grid_search([7.5, 2.5])}
    run_study(lambda config: config, space, run={"verbose": 1}, metric="loss", mode="min")
    assert "2 terminated" in notebook[-1]
    # The best first.
    assert notebook[-1].index(">2.5<") < notebook[-1].index(">7.5<")


def test_without_ipython_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError, match="take a CLIReporter"):
        tune.JupyterNotebookReporter()


def two_reports(config):
    for step in range(2):
        tune.report({"loss": config["x"] + step, "note": "text", "a": 1, "b": 2, "c": 3, "d": 4})


@pytest.mark.parametrize("verbose", [1, 2, Verbosity.V3_TRIAL_DETAILS])
def test_verbose_says_how_much_is_printed_of_each_trial(capsys, verbose):
    tune.Tuner(
        two_reports,
        param_space={"x": 1},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(verbose=verbose),
    ).fit()
    lines = capsys.readouterr().out.splitlines()
    if verbose == 1:
        assert not [line for line in lines if "iteration" in line]
        return
    assert lines[0].endswith("starts with {'x': 1}")
    first, second = (line for line in lines if " iteration " in line)
    assert "iteration 1 after" in first
    assert "loss=1, a=1, b=2, c=3" in first
    assert ("d=4" in first) is (verbose == 3)
    assert "loss=2" in second
    assert any("has ended: loss=2" in line for line in lines)


def test_one_of_the_users_own_takes_the_place_of_verbose(capsys):
    def fails(config):
        tune.report({"loss": 0.5, "other": 1})
        raise ValueError("mine")

    callback = TrialProgressCallback(progress_metrics=["loss"])
    run = tune.RunConfig(verbose=3, callbacks=[callback])
    tune.Tuner(fails, run_config=run).fit()
    text = capsys.readouterr().out
    assert text.count(" iteration ") == 1
    assert "s: loss=0.5\n" in text
    assert "failed 1 times, see " in text
