"""`heliostat tune results`, `tune gc` and `train results` read what is on disk."""

import json
import os
import time

import pytest

import heliostat as ray
from heliostat import train, tune
from heliostat.cli import main
from heliostat.train.data_parallel_trainer import DataParallelTrainer


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A study `study` of two trials, one of which fails, and a run `run`."""
    folder = tmp_path_factory.mktemp("storage")

    def objective(config):
        if config["x"] == 3:
            raise ValueError("three is too many")
        (folder / "kept").mkdir(exist_ok=True)
        for step in range(2):
            loss = config["x"] * (step + 1)
            checkpoint = train.Checkpoint.from_directory(folder / "kept")
            tune.report({"loss": loss}, checkpoint=checkpoint)

    ray.init(num_cpus=2)
    space, run = {"x": tune.grid_search([2, 1, 3])}, {"storage_path": str(folder), "verbose": 0}
    tune.Tuner(objective, param_space=space, run_config=tune.RunConfig(name="study", **run)).fit()

    def loop():
        train.report({"loss": 0.5})

    DataParallelTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=1),
        run_config=train.RunConfig(name="run", storage_path=str(folder)),
    ).fit()
    ray.shutdown()
    return folder


def said(capsys, *words):
    code = main(list(map(str, words)))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_trials_are_listed_the_best_first(storage, capsys):
    code, out, _ = said(capsys, "tune", "results", storage / "study", "--metric", "loss")
    head, *rows = out.splitlines()
    assert code == 0
    assert head.split()[:4] == ["TRIAL", "STATUS", "CONFIG/X", "LOSS"]
    assert [row.split()[2] for row in rows[:3]] == ["1", "2", "3"]
    assert rows[3] == "3 trials"
    assert "three is too many" in rows[4]
    _, out, _ = said(
        capsys, "tune", "results", storage / "study", "--metric", "loss", "--mode", "max", "--json"
    )
    assert [row["config"]["x"] for row in json.loads(out)] == [2, 1, 3]


def test_what_is_no_study_or_metric_is_said_with_what_is(storage, capsys):
    code, _, err = said(capsys, "tune", "results", storage)
    assert (code, "there are studies below it: study" in err) == (1, True)
    code, _, err = said(capsys, "tune", "results", storage / "study", "--metric", "lost")
    assert (code, "no trial reported 'lost'; there are " in err) == (1, True)
    assert "there is no directory" in said(capsys, "tune", "gc", storage / "nope")[2]
    code, _, err = said(capsys, "train", "results", storage)
    assert (code, "no run has written" in err) == (1, True)


def test_gc_takes_checkpoints_that_no_trial_knows_and_nothing_else(storage, capsys):
    study = storage / "study"
    assert said(capsys, "tune", "gc", study)[1] == "nothing is left over\n"
    kept = sorted(study.glob("*/checkpoint_*"))
    lost = kept[0].parent / "checkpoint_000077"
    lost.mkdir()
    (lost / "weights").write_bytes(bytes(1_000_000))
    assert said(capsys, "tune", "gc", study)[1] == "nothing is left over\n"  # it may be told of yet
    os.utime(lost, (0, 0))
    _, out, _ = said(capsys, "tune", "gc", study)
    assert out == f"1.0 MB  {lost}\n1 directories, 1.0 MB, left over; --yes deletes them\n"
    assert lost.exists()
    assert json.loads(said(capsys, "tune", "gc", study, "--yes", "--json")[1])["deleted"] is True
    assert not lost.exists()
    assert sorted(study.glob("*/checkpoint_*")) == kept


def test_a_run_tells_its_reports(storage, capsys):
    code, out, _ = said(capsys, "train", "results", storage / "run")
    assert (code, out.splitlines()[1:]) == (0, ["REPORT  LOSS", "1       0.5"])
    assert (
        json.loads(said(capsys, "train", "results", storage / "run", "--json")[1])["reports"] == 1
    )


def test_a_table_of_many_trials_takes_as_long_as_its_rows_do(tmp_path, capsys):
    ray.init(num_cpus=2)
    tune.Tuner(
        lambda config: {"loss": config["x"]},
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=2_000),
        run_config=tune.RunConfig(name="many", storage_path=str(tmp_path), verbose=0),
    ).fit()
    ray.shutdown()
    began = time.process_time()
    code, out, _ = said(capsys, "tune", "results", tmp_path / "many", "--limit", "2000")
    assert (code, len(out.splitlines())) == (0, 2_002)
    assert time.process_time() - began < 4  # 9 when each row looked at all others
