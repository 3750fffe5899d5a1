"""Ranks in processes of their own, on the local engine, and what happens when they die."""

import logging
import os
import signal
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

import heliostat
from heliostat.train import (
    Checkpoint,
    DataConfig,
    DataParallelTrainer,
    FailureConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
    _run,
    get_checkpoint,
    get_context,
    get_dataset_shard,
    report,
)
from heliostat.train._worker_group import WorkerGroup

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module", autouse=True)
def local():
    heliostat.init(num_cpus=2, num_gpus=2)
    yield
    heliostat.shutdown()


def fit(loop, run_config, workers=2, **options):
    return DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=workers, **options.pop("scaling", {})),
        run_config=run_config(**options),
    ).fit()


def test_ranks_run_at_once_in_processes_of_their_own(run_config, tmp_path):
    def loop():
        rank = get_context().get_world_rank()
        (tmp_path / f"pid-{rank}").write_text(str(os.getpid()))
        deadline = time.monotonic() + 20
        while not (tmp_path / f"pid-{1 - rank}").exists():
            assert time.monotonic() < deadline

    fit(loop, run_config)
    pids = {(tmp_path / f"pid-{rank}").read_text() for rank in (0, 1)}
    assert len(pids | {str(os.getpid())}) == 3


def test_each_rank_has_its_own_gpu(run_config):
    def loop():
        report({"gpus": os.environ.get("CUDA_VISIBLE_DEVICES")})
        return heliostat.get_gpu_ids()

    result = fit(loop, run_config, scaling={"use_gpu": True})
    assert result.metrics["gpus"] in ("0", "1")
    assert len(result.return_value) == 1


def test_a_killed_rank_stops_the_others_within_a_second(run_config):
    def loop():
        report({})
        if get_context().get_world_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(WorkerGroupError, match=r"rank 1 of 2 died .*after 1 report") as caught:
        fit(loop, run_config)
    assert list(caught.value.worker_failures) == [1]
    assert time.monotonic() - began < 50
    assert_free()


def test_a_rank_that_raises_stops_the_others_and_shows_its_line(run_config):
    def loop():
        if get_context().get_world_rank() == 1:
            raise KeyError("the culprit")
        time.sleep(60)

    with pytest.raises(WorkerGroupError, match="rank 1 of 2 failed") as caught:
        fit(loop, run_config)
    assert 'raise KeyError("the culprit")' in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    assert_free()


def test_a_killed_rank_is_started_again_from_the_last_checkpoint(run_config, tmp_path):
    def loop():
        last = get_checkpoint()
        start = int(Path(last.path, "step").read_text()) + 1 if last else 0
        for step in range(start, 3):
            directory = tmp_path / f"{get_context().get_world_rank()}-{start}-{step}"
            directory.mkdir()
            (directory / "step").write_text(str(step))
            report({"step": step}, checkpoint=Checkpoint(directory))
            if step == 1 and not last and get_context().get_world_rank() == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return start

    result = fit(loop, run_config, failure_config=FailureConfig(max_failures=1), name="run")
    assert result.return_value == 2
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    left = [name for name in os.listdir(result.path) if not name.startswith("checkpoint_")]
    assert left == ["run.jsonl"]


def test_a_rank_that_exits_is_a_death_and_its_code_is_told(run_config):
    with pytest.raises(WorkerGroupError, match=r"rank 0 of 1 died"):
        fit(lambda: os._exit(3), run_config, workers=1)


def test_a_training_runs_inside_an_actor(run_config):
    class Trial:
        def run(self):
            return fit(lambda: report({"x": 1}), run_config).metrics

    trial = heliostat.remote(num_cpus=0)(Trial).remote()
    assert heliostat.get(trial.run.remote(), timeout=30) == {"x": 1}
    heliostat.kill(trial)


def test_lazy_datasets_are_run_before_the_ranks_take_all_cpus(run_config):
    rows = heliostat.data.range(100).map_batches(lambda batch: {"x": batch["id"] * 2})

    def loop():
        batches = list(get_dataset_shard("train").iter_batches(batch_size=10))
        whole = list(get_dataset_shard("all").iter_rows())
        return [len(batches), len(whole)]

    result = DataParallelTrainer(
        loop,
        datasets={"train": rows, "all": lambda: rows},
        dataset_config=DataConfig(datasets_to_split=["train"]),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    assert result.return_value == [5, 100]


def test_ranks_have_the_environment_and_the_place_that_they_are_given(run_config):
    def loop():
        return os.environ["GREETING"]

    scaling = {"label_selector": {"ray.io/node-id": "!in(x)"}}
    given = {"env_vars": {"GREETING": "hello"}}
    result = fit(loop, run_config, worker_runtime_env=given, scaling=scaling)
    assert result.return_value == "hello"
    with pytest.raises(TrainingFailedError, match="no-such-zone"):
        fit(loop, run_config, scaling={"label_selector": {"zone": "no-such-zone"}})
    with pytest.raises(TrainingFailedError, match="A100"):
        fit(loop, run_config, scaling={"accelerator_type": "A100"})
    assert_free()


def test_a_group_of_processes_does_not_share_one():
    group = WorkerGroup(2, {"CPU": 1})
    assert not group.shares_a_process
    assert len(set(group.execute(os.getpid))) == 2
    assert group.execute_single(1, abs, -1) == 1
    group.stop()
    assert_free()


def test_ranks_that_wait_too_long_are_shown_where_the_others_are(run_config, tmp_path, monkeypatch):
    monkeypatch.setattr(_run, "PATIENCE_S", 0.2)

    class Tell(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())
            (tmp_path / "told").touch()

    def hang_here():
        (tmp_path / "hangs").touch()
        while not (tmp_path / "told").exists():
            pass

    def loop():
        if get_context().get_world_rank() == 1:
            hang_here()
        while not (tmp_path / "hangs").exists():  # or the other one is seen where it begins
            time.sleep(0.01)
        report({})

    told, handler = [], Tell()
    logging.getLogger("heliostat.train").addHandler(handler)
    try:
        fit(loop, run_config)
    finally:
        logging.getLogger("heliostat.train").removeHandler(handler)
    assert "rank 0 waiting in report() for rank 1" in told[0]
    assert "in hang_here" in told[0].partition("rank 1 is here:")[2]
    assert "in report" in told[0].partition("rank 0 is here:")[2]
    assert "zygote" not in told[0]  # no line of ours below theirs


def assert_free():
    """All CPUs are given back, in the end."""
    deadline = time.monotonic() + 10
    while heliostat.available_resources().get("CPU") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
