"""SIGKILL at any point of a study, then restore: the study is what it would have been."""

import json
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from heliostat import tune
from heliostat.tune._snapshot import newest_log, read_log

ENGINE = None

PROGRAM = """
    import random, sys, tempfile
    from pathlib import Path
    import heliostat
    from heliostat import train, tune
    from heliostat.tune.schedulers import ASHAScheduler, PopulationBasedTraining

    engine, kind, directory = sys.argv[1:]

    class Walk(tune.Trainable):
        def setup(self, config):
            self.x = 0.0

        def step(self):
            self.x += self.config["speed"]
            return {"gone": self.x, "speed": self.config["speed"]}

        def save_checkpoint(self, checkpoint_dir):
            return {"x": self.x}

        def load_checkpoint(self, checkpoint):
            self.x = checkpoint["x"]

    def walk(config):
        last = train.get_checkpoint()
        x = 0.0 if last is None else float(Path(last.path, "x").read_text())
        while True:
            x += config["speed"]
            with tempfile.TemporaryDirectory() as saved:
                Path(saved, "x").write_text(repr(x))
                metrics = {"gone": x, "speed": config["speed"]}
                train.report(metrics, checkpoint=train.Checkpoint(saved))

    space = {"speed": tune.uniform(0, 1)}
    keep = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2)
    if kind == "trainer":
        Walk = train.DataParallelTrainer(walk)
        space = {"train_loop_config": space}
        keep = tune.CheckpointConfig(num_to_keep=2)
    heliostat.init(engine=engine, num_cpus=2)
    if tune.Tuner.can_restore(directory + "/study"):
        tuner = tune.Tuner.restore(directory + "/study", Walk)
    else:
        random.seed(5)
        tuner = tune.Tuner(
            Walk,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="gone",
                mode="max",
                num_samples=12 if kind == "asha" else 4,
                search_alg=tune.search.BasicVariantGenerator(random_state=3),
                max_concurrent_trials=2 if kind in ("in step", "trainer") else 1,
                scheduler=ASHAScheduler(max_t=9, reduction_factor=3)
                if kind == "asha"
                else PopulationBasedTraining(
                    time_attr="training_iteration",
                    perturbation_interval=3,
                    hyperparam_mutations=space,
                    synch=kind in ("in step", "trainer"),
                ),
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=directory,
                verbose=0,
                stop={"training_iteration": 12},
                checkpoint_config=keep,
            ),
        )
    tuner.fit()
"""


def begin(engine, kind, directory):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), engine, kind, str(directory)]
    return subprocess.Popen(command)


def outcome(directory):
    """What came out: of each trial its config, its end and how it got there."""
    log = newest_log(directory / "study")
    records = list(read_log(log))
    ends = [record["trial"] for record in records if record["kind"] == "complete"]
    assert len(ends) == len(set(ends)), "a trial ended twice"
    last = {}
    for record in records:
        if record["kind"] == "result":
            result = record["result"]
            last[record["trial"][-5:]] = (
                result["training_iteration"],
                result["gone"],
                result["speed"],
            )
    assert {trial[-5:] for trial in ends} == set(last)
    return last


def lines(directory):
    log = newest_log(directory / "study") if (directory / "study").exists() else None
    return 0 if log is None else log.read_bytes().count(b"\n")


def run_with_kills(engine, kind, directory, kills, rng):
    for _ in range(kills):
        process = begin(engine, kind, directory)
        goal = lines(directory) + rng.randint(1, 60)
        deadline = time.monotonic() + 120
        while process.poll() is None and lines(directory) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break  # it was done before
    assert begin(engine, kind, directory).wait(120) == 0
    return outcome(directory)


@pytest.mark.parametrize("kind", ["asha", "pbt", "in step", "trainer"])
def test_a_study_that_was_killed_is_what_it_would_have_been(kind, tmp_path):
    whole = tmp_path / "whole"
    assert begin("inline", kind, whole).wait(120) == 0
    killed = run_with_kills("inline", kind, tmp_path / "killed", 3, random.Random(kind))
    assert killed == outcome(whole)
    grids = [
        tune.Tuner.restore(directory / "study", tune.Trainable).get_results()
        for directory in (whole, tmp_path / "killed")
    ]
    best, again = (grid.get_best_result("gone", "max") for grid in grids)
    assert best.metrics["gone"] == again.metrics["gone"]
    assert json.dumps(best.config) == json.dumps(again.config)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["asha", "pbt", "in step", "trainer"])
def test_a_study_that_was_killed_at_thirty_points_is_what_it_would_have_been(kind, tmp_path):
    whole = tmp_path / "whole"
    assert begin("local", kind, whole).wait(120) == 0
    expected = outcome(whole)
    for round_ in range(10):
        directory = tmp_path / str(round_)
        found = run_with_kills("local", kind, directory, 3, random.Random(f"{kind} {round_}"))
        assert found == expected
