"""A study that was cut short goes on: by its log, also after a SIGKILL."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest

from heliostat import tune
from heliostat.tune._snapshot import TUNER_FILE, newest_log, read_log
from heliostat.tune.search import Searcher

PROGRAM = """
    import sys, time
    import heliostat
    from heliostat import tune

    def trial(config):
        tune.report({"loss": config["x"]})
        if config["n"] == 2:
            time.sleep(1000)

    heliostat.init(engine="inline", num_cpus=1)
    tune.Tuner(
        trial,
        param_space={"x": tune.uniform(0, 1), "n": tune.grid_search([0, 1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0),
    ).fit()
"""


def report_x(config):
    tune.report({"loss": config["x"]})


def fails_on_one(config):
    if config["x"] == 1:
        raise ValueError("one")
    return {"loss": config["x"]}


@pytest.fixture
def killed(tmp_path):
    """The directory of a study whose driver was killed in its third trial of four."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)])
    study = tmp_path / "study"
    deadline = time.monotonic() + 60
    try:
        while not (list(study.glob("*_2_*/result.json"))):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return study


def test_a_killed_study_goes_on_where_it_was(killed):
    before = [r for r in read_log(newest_log(killed)) if r["kind"] == "add"]
    done = tune.Tuner.restore(killed, report_x).get_results()
    assert [result.config["n"] for result in done][:2] == [0, 1]

    grid = tune.Tuner.restore(str(killed), report_x).fit()
    assert [result.config["n"] for result in grid] == [0, 1, 2, 3]
    assert grid.num_terminated == 4
    for record, result in zip(before, grid, strict=False):
        assert record["config"] == result.config
    assert [result.metrics["loss"] for result in grid] == [r.config["x"] for r in grid]
    assert len(list(killed.glob("*.jsonl"))) == 1


def test_a_killed_study_proposes_what_it_would_have_proposed(tmp_path):
    def configs(path, **extra):
        return [
            result.config
            for result in tune.Tuner(
                report_x,
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(
                    num_samples=6, search_alg=tune.search.BasicVariantGenerator(random_state=5)
                ),
                run_config=tune.RunConfig(name=path, storage_path=str(tmp_path), verbose=0),
            ).fit()
        ]

    whole = configs("whole")
    configs("cut")
    log = newest_log(tmp_path / "cut")
    lines = log.read_bytes().splitlines(keepends=True)
    for keep in range(1, len(lines), 5):
        log.write_bytes(b"".join(lines[:keep]) + b'{"kind": "resu')
        grid = tune.Tuner.restore(tmp_path / "cut", report_x).fit()
        assert [result.config for result in grid] == whole


def test_a_scheduler_hears_of_the_trials_that_go_on(killed):
    given = cloudpickle.loads((killed / TUNER_FILE).read_bytes())
    asha = tune.schedulers.ASHAScheduler(max_t=5)
    kept = replace(given, tune_config=replace(given.tune_config, scheduler=asha))
    (killed / TUNER_FILE).write_bytes(cloudpickle.dumps(kept))
    assert tune.Tuner.restore(killed, report_x).fit().num_terminated == 4


def test_unfinished_trials_may_be_left_as_they_are(killed):
    grid = tune.Tuner.restore(killed, report_x, resume_unfinished=False).fit()
    assert [len(result.history) for result in grid][:3] == [1, 1, 1]
    assert grid.num_terminated == 4


@pytest.mark.parametrize(("flag", "errors"), [({}, 1), ({"resume_errored": True}, 0)])
def test_failed_trials_are_tried_again_on_request(run_study, flag, errors):
    grid = run_study(fails_on_one, {"x": tune.grid_search([0, 1])})
    assert grid.num_errors == 1
    again = tune.Tuner.restore(grid.experiment_path, report_x, **flag).fit()
    assert again.num_errors == errors
    if errors:
        assert isinstance(again.errors[0], ValueError)


def step_on(config):
    checkpoint = tune.get_checkpoint()
    begin = int(Path(checkpoint.path, "step").read_text()) + 1 if checkpoint else 0
    for step in range(begin, begin + 2):
        saved = Path(config["dir"], "saved")
        saved.mkdir(exist_ok=True)
        (saved / "step").write_text(str(step))
        tune.report({"step": step}, checkpoint=tune.Checkpoint(saved))
    raise OSError("over")


@pytest.mark.parametrize(("flag", "last"), [("resume_errored", 3), ("restart_errored", 1)])
def test_a_failed_trial_is_resumed_from_its_checkpoint_or_restarted(
    run_study, tmp_path, flag, last
):
    grid = run_study(step_on, {"dir": str(tmp_path)})
    again = tune.Tuner.restore(grid.experiment_path, step_on, **{flag: True}).fit()
    assert again[0].metrics["step"] == last
    assert Path(again[0].checkpoint.path).is_dir()


def test_a_study_may_be_moved(run_study, tmp_path):
    grid = run_study(step_on, {"dir": str(tmp_path)})
    moved = tmp_path / "moved"
    os.rename(grid.experiment_path, moved)
    found = tune.Tuner.restore(moved, step_on).get_results()
    assert Path(found[0].path).parent == moved
    assert Path(found[0].checkpoint.path).is_dir()


def test_what_is_no_study_cannot_be_restored(tmp_path):
    assert not tune.Tuner.can_restore(tmp_path)
    with pytest.raises(ValueError, match="there is no study in"):
        tune.Tuner.restore(tmp_path, report_x)


def test_flags_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ValueError, match="drop one"):
        tune.Tuner.restore(tmp_path, report_x, resume_errored=True, restart_errored=True)


def test_a_searcher_of_ones_own_is_told_everything_again(run_study):
    grid = run_study(report_x, {"x": tune.randint(0, 9)}, search_alg=Counting(), num_samples=2)
    again = tune.Tuner.restore(grid.experiment_path, report_x)
    again._given = replace(
        again._given, tune_config=replace(again._given.tune_config, num_samples=4)
    )
    assert [result.config["x"] for result in again.fit()] == [1, 2, 3, 4]


def test_a_searcher_that_proposes_something_else_keeps_its_results_but_cannot_go_on(run_study):
    space = {"x": tune.randint(0, 9)}
    grid = run_study(report_x, space, search_alg=Moody(), num_samples=2)
    tuner = tune.Tuner.restore(grid.experiment_path, report_x)
    assert len(tuner.get_results()) == 2
    Moody.start = 100
    with pytest.raises(NotImplementedError, match="Moody cannot be taken up again"):
        tuner.fit()


class Counting(Searcher):
    count = 0

    def suggest(self, trial_id):
        self.count += 1
        return {"x": self.count}


class Moody(Searcher):
    start = 0

    def suggest(self, trial_id):
        return {"x": Moody.start + int(trial_id[-1])}
