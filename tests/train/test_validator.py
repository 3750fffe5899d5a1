"""Checkpoints are stored and validated while training goes on, on both engines."""

import functools
import os
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import pytest

import heliostat
from heliostat.train import (
    Checkpoint,
    CheckpointConfig,
    CheckpointUploadMode,
    DataParallelTrainer,
    ReportedCheckpointStatus,
    Result,
    ScalingConfig,
    ValidationConfig,
    ValidationTaskConfig,
    get_all_reported_checkpoints,
    get_context,
    report,
)

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
ASYNC = CheckpointUploadMode.ASYNC
ENGINES = ["inline", "local"]


@pytest.fixture(params=ENGINES, scope="module", autouse=True)
def engine(request):
    heliostat.init(engine=request.param, num_cpus=3)
    yield request.param
    heliostat.shutdown()


@pytest.fixture
def fit(run_config, tmp_path_factory):
    def fit(loop, size=1, validation=None, **options):
        scratch = tmp_path_factory.mktemp("scratch")
        return DataParallelTrainer(
            functools.partial(loop, save=functools.partial(save, scratch)),
            scaling_config=ScalingConfig(num_workers=size),
            run_config=run_config(**options),
            validation_config=validation,
        ).fit()

    return fit


def save(scratch, step):
    rank = get_context().get_world_rank()
    directory = scratch / f"{step}-{rank}"
    directory.mkdir()
    (directory / f"step-{rank}").write_text(str(step))
    return Checkpoint(directory)


def score(checkpoint, add=0, log=None):
    step = int(Path(checkpoint.path, "step-0").read_text())
    if step == 2 and add == -1:
        raise ValueError("no two")
    return {"score": step * 10 + add}


def steps_of(checkpoint):
    return {name: Path(checkpoint.path, name).read_text() for name in os.listdir(checkpoint.path)}


@pytest.mark.parametrize("size", [0, 1, 2])
def test_checkpoints_of_the_background_are_all_there_in_order(fit, size):
    def loop(save):
        for step in range(4):
            checkpoint = save(step)
            report({"step": step}, checkpoint, checkpoint_upload_mode=ASYNC)
        found = get_all_reported_checkpoints("COMMITTED")
        assert not os.path.exists(checkpoint.path)
        return [c.metrics["step"] for c in found]

    result = fit(loop, size)
    assert result.return_value == [0, 1, 2, 3]
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2, 3]
    expected = [{f"step-{r}": str(s) for r in range(size or 1)} for s in range(4)]
    assert [steps_of(c) for c, _ in result.best_checkpoints] == expected


def test_a_directory_that_shall_stay_stays_and_a_name_that_was_given_is_used(fit):
    def loop(save):
        checkpoint = save(1)
        report(
            {}, checkpoint, "mine", checkpoint_upload_mode="ASYNC",
            delete_local_checkpoint_after_upload=False,
        )  # fmt: skip
        get_all_reported_checkpoints()
        return os.listdir(checkpoint.path)

    result = fit(loop)
    assert result.return_value == ["step-0"]
    assert os.path.basename(result.checkpoint.path) == "mine"


def test_what_goes_wrong_in_the_background_is_an_error_of_the_loop(fit):
    def loop(save):
        def fail(checkpoint, name):
            raise OSError(f"no room for {name}")

        report({}, save(1), checkpoint_upload_mode=ASYNC, checkpoint_upload_fn=fail)

    with pytest.raises(heliostat.train.WorkerGroupError, match="no room for checkpoint_000000"):
        fit(loop)


def test_a_checkpoint_may_stay_where_it_is(fit):
    def loop(save):
        for step in range(3):
            report({"step": step}, save(step), checkpoint_upload_mode="NO_UPLOAD")

    result = fit(loop, checkpoint_config=CheckpointConfig(num_to_keep=2))
    kept = [c for c, _ in result.best_checkpoints]
    assert [steps_of(c) for c in kept] == [{"step-0": "1"}, {"step-0": "2"}]
    scratch = Path(kept[0].path).parent
    assert sorted(os.listdir(scratch)) == ["1-0", "2-0"]
    assert not any(name.startswith("checkpoint_") for name in os.listdir(result.path))
    assert Result.from_path(result.path).best_checkpoints == result.best_checkpoints


@pytest.mark.parametrize("mode", ["SYNC", "ASYNC"])
def test_a_function_may_bring_checkpoints_elsewhere_under_the_name_they_shall_have(
    fit, tmp_path_factory, mode
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def loop(save):
        def move(checkpoint, name):
            os.rename(checkpoint.path, elsewhere / name)
            return Checkpoint(elsewhere / name)

        for step in range(2):
            report(
                {}, save(step), checkpoint_upload_mode=mode, checkpoint_upload_fn=move,
                delete_local_checkpoint_after_upload=False,
            )  # fmt: skip

    result = fit(loop)
    assert sorted(os.listdir(elsewhere)) == ["checkpoint_000000", "checkpoint_000001"]
    assert steps_of(result.checkpoint) == {"step-0": "1"}


@pytest.mark.parametrize("size", [0, 1, 2])
def test_validation_adds_its_metrics_and_its_status(fit, size):
    def loop(save):
        for step in range(3):
            wanted = ValidationTaskConfig({"add": 5}) if step == 1 else step == 0
            report({"step": step}, save(step), validation=wanted)
        found = get_all_reported_checkpoints()
        return [(c.metrics.get("score"), c.status.name) for c in found]

    config = ValidationConfig(
        score, ValidationTaskConfig({"add": 1}), ray_remote_kwargs={"num_cpus": 0}
    )
    result = fit(loop, size, config)
    assert result.return_value == [(1, "VALIDATED"), (15, "VALIDATED"), (None, "COMMITTED")]
    assert [m.get("score") for _, m in result.best_checkpoints] == [1, 15, None]
    again = Result.from_path(result.path)
    assert again.get_best_checkpoint("score", "max") == result.best_checkpoints[1][0]


def test_the_run_ends_with_its_last_validation_and_a_failed_one_fails_nothing(fit):
    def loop(save):
        for step in (1, 2):
            report({}, save(step), validation=True)

    config = ValidationConfig(score, ValidationTaskConfig({"add": -1}), {"num_cpus": 0})
    result = fit(loop, 1, config)
    assert [m for _, m in result.best_checkpoints] == [{"score": 9}, {}]
    statuses = [e["status"] for e in entries(result) if e["kind"] == "validated"]
    assert statuses == ["VALIDATED", "VALIDATION_FAILED"]
    assert ReportedCheckpointStatus(statuses[1]).name == "VALIDATION_FAILED"


def test_a_validation_that_takes_too_long_is_cancelled(fit, engine):
    if engine == "inline":
        pytest.skip("a task of the inline engine is over when it has begun")

    def hang(checkpoint):
        threading.Event().wait()

    config = ValidationConfig(hang, ValidationTaskConfig(timeout_s=0.2), {"num_cpus": 0})
    began = time.monotonic()
    result = fit(lambda save: report({}, save(1), validation=True), 1, config)
    assert time.monotonic() - began < 20
    statuses = [e["status"] for e in entries(result) if e["kind"] == "validated"]
    assert statuses == ["VALIDATION_TIMEOUT"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checkpoint_upload_mode": "LATER"}, "one of ASYNC, SYNC, NO_UPLOAD, got 'LATER'"),
        ({"checkpoint_upload_fn": 3}, "must be a function, got 3"),
        (
            {"checkpoint_upload_mode": "NO_UPLOAD", "delete_local_checkpoint_after_upload": True},
            "leaves the checkpoint where it is",
        ),
        ({"validation": True}, "give it a validation_config"),
        ({"validation": 3}, "takes True, False or a ValidationTaskConfig, got 3"),
        ({"validation": True, "checkpoint": None}, "needs a checkpoint to validate"),
        ({"checkpoint_upload_fn": lambda c, n: None}, "must return a Checkpoint, got None"),
    ],
)
def test_what_makes_no_sense_is_refused(fit, options, says):
    def loop(save):
        report(**{"metrics": {}, "checkpoint": save(1), **options})

    with pytest.raises(heliostat.train.WorkerGroupError, match=says):
        fit(loop)


def entries(result):
    from heliostat.train._storage import read_log

    return read_log(Path(result.path))
