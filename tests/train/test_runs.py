"""Runs are seen with their ranks, metrics and checkpoints."""

import heliostat as ray
from heliostat.train import DataParallelTrainer, RunConfig, ScalingConfig
from heliostat.train.runs import POINTS, list_runs, numbers, series
from heliostat.util import progress


def test_a_run_is_seen_with_its_metrics_when_it_has_ended(inline, tmp_path, monkeypatch):
    monkeypatch.setattr(progress.Ledger, "kept_everywhere", True)

    def loop():
        for step in range(3):
            ray.train.report({"loss": 1 / (step + 1), "note": "x"})

    trainer = DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path=str(tmp_path), name="seen"),
    )
    trainer.fit()
    row = list_runs()[-1]
    assert (row["name"], row["state"], row["reports"]) == ("seen", "FINISHED", 3)
    assert row["metrics"]["report"] == [1, 2, 3]
    assert row["metrics"]["values"] == {"loss": [1.0, 0.5, 1 / 3]}
    assert row["ranks"] == ["done"]
    assert row["error"] == ""


def test_only_numbers_are_drawn():
    assert numbers({"a": 1, "b": True, "c": "x", "d": None}) == {"a": 1}


def test_many_reports_are_thinned_and_the_last_stays():
    found = series([{"a": n} for n in range(10 * POINTS + 3)])
    assert len(found["report"]) <= POINTS
    assert found["values"]["a"][-1] == 10 * POINTS + 2


def test_a_loop_in_this_process_starts_no_session(tmp_path):
    DataParallelTrainer(
        lambda: None,
        scaling_config=ScalingConfig(num_workers=0),
        run_config=RunConfig(storage_path=str(tmp_path)),
    ).fit()
    assert not ray.is_initialized()
