import pytest

from heliostat import tune
from heliostat.train import (
    CheckpointConfig,
    DataConfig,
    DataParallelTrainer,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    SyncConfig,
)


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (ScalingConfig(), {"CPU": 1}),
        (ScalingConfig(num_workers=4, use_gpu=True), {"GPU": 4}),
        (ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}), {"CPU": 1}),
        (
            ScalingConfig(num_workers=2, use_gpu=True, resources_per_worker={"CPU": 3}),
            {"CPU": 6, "GPU": 2},
        ),
        (ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0, "disk": 1}), {"disk": 2}),
        (ScalingConfig(num_workers=0), {"CPU": 0}),
        (ScalingConfig(num_workers=(1, 3)), {"CPU": 3}),
    ],
)
def test_total_resources_are_those_of_all_ranks(config, total):
    assert config.total_resources == total


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"num_workers": -1}, ValueError, "num_workers must be >= 0, got -1"),
        ({"num_workers": 2.0}, TypeError, "got 2.0"),
        ({"num_workers": True}, TypeError, "got True"),
        ({"num_workers": (1, 2, 3)}, ValueError, r"\(least, most\), got \(1, 2, 3\)"),
        ({"num_workers": (4, 1)}, ValueError, "must not be the larger"),
        ({"num_workers": (0, 1)}, ValueError, "must be >= 1, got 0"),
        ({"elastic_resize_monitor_interval_s": -1}, ValueError, "number >= 0, got -1"),
        ({"use_gpu": "yes"}, TypeError, "'yes'"),
        ({"resources_per_worker": ["CPU"]}, TypeError, "dict"),
        ({"resources_per_worker": {"CPU": -1}}, ValueError, r"\['CPU'\].*-1"),
        ({"resources_per_worker": {"CPU": "2"}}, ValueError, "'2'"),
        ({"resources_per_worker": {"CPU": float("nan")}}, ValueError, "nan"),
        ({"resources_per_worker": {"GPU": 1}}, ValueError, "use_gpu"),
        ({"use_gpu": True, "resources_per_worker": {"GPU": 0}}, ValueError, "use_gpu"),
        ({"placement_strategy": "BEST"}, ValueError, "'BEST'"),
        ({"accelerator_type": 1}, TypeError, "accelerator_type must be a name"),
        ({"label_selector": "zone"}, TypeError, "label_selector must be a dict"),
        ({"label_selector": [{}], "num_workers": 2}, ValueError, "1 dicts for 2 workers"),
        ({"use_tpu": True}, NotImplementedError, "use_tpu"),
        ({"trainer_resources": {"CPU": 1}}, NotImplementedError, "trainer_resources"),
    ],
)
def test_a_scaling_config_that_cannot_be_is_refused(options, error, says):
    with pytest.raises(error, match=says):
        ScalingConfig(**options)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: FailureConfig(max_failures=-2), ValueError, "-2"),
        (lambda: FailureConfig(max_failures=1, fail_fast=True), ValueError, "contradict"),
        (lambda: FailureConfig(fail_fast="maybe"), ValueError, "maybe"),
        (lambda: CheckpointConfig(num_to_keep=0), ValueError, "num_to_keep"),
        (lambda: CheckpointConfig(checkpoint_score_order="up"), ValueError, "'up'"),
        (lambda: CheckpointConfig(checkpoint_frequency=-1), ValueError, "-1"),
        (lambda: RunConfig(storage_path=3), TypeError, "3"),
        (lambda: RunConfig(failure_config=3), TypeError, "FailureConfig"),
        (lambda: RunConfig(logging_config=3), TypeError, "logging_config"),
        (lambda: RunConfig(storage_filesystem=object()), TypeError, "pyarrow"),
        (lambda: DataConfig(datasets_to_split="train"), TypeError, "'train'"),
        (lambda: DataConfig(datasets_to_split=[5]), TypeError, "list of names"),
        (lambda: RunConfig(verbose=9), ValueError, "1, 2 or 3, got 9"),
        (lambda: RunConfig(verbose="a"), ValueError, "got 'a'"),
        (lambda: RunConfig(storage_path=""), ValueError, "names no directory"),
        (lambda: RunConfig(log_to_file=5), TypeError, "a file or two of them, got 5"),
        (lambda: RunConfig(log_to_file=("a",)), TypeError, r"two of them, got \('a',\)"),
        (lambda: RunConfig(log_to_file="../a"), ValueError, "log_to_file"),
        (lambda: RunConfig(callbacks="abc"), TypeError, "list of callbacks, got 'abc'"),
        (lambda: CheckpointConfig(checkpoint_score_attribute=5), TypeError, "name of a metric"),
        (lambda: FailureConfig(preemption_grace_s=-1), ValueError, "seconds >= 0, got -1"),
        (lambda: RunConfig(worker_runtime_env="a"), TypeError, "worker_runtime_env must be a Mapp"),
        (lambda: RunConfig(sync_config=3), TypeError, "sync_config must be a SyncConfig"),
        (lambda: DataConfig(execution_options=3), TypeError, "ExecutionOptions"),
        (lambda: DataConfig(execution_options={"train": 3}), TypeError, "ExecutionOptions"),
    ],
)
def test_other_configs_that_cannot_be_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize(
    "name", ["", "../up", "/abs", "a/b", "..", ".hidden", "x" * 256, "a\0b", " a"]
)
def test_a_run_name_that_is_no_directory_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        RunConfig(name=name)


def test_names_of_any_language_are_fine():
    assert RunConfig(name="поездки 2026").name == "поездки 2026"


def test_none_means_the_default():
    config = RunConfig(failure_config=None, checkpoint_config=None)
    assert config.failure_config.max_failures == 0
    assert config.checkpoint_config.num_to_keep is None


def test_what_older_code_says_about_copies_is_taken():
    assert RunConfig(sync_config=SyncConfig(sync_artifacts=True)).sync_config.sync_period == 300


def test_a_rank_runs_where_its_labels_say():
    config = ScalingConfig(num_workers=2, label_selector=[{"a": "1"}, {"a": "2"}])
    assert config.place_of(1) == {"label_selector": {"a": "2"}}
    everywhere = ScalingConfig(num_workers=2, label_selector={"a": "1"}, accelerator_type="T4")
    assert everywhere.place_of(0) == everywhere.place_of(1)
    assert everywhere.place_of(0)["accelerator_type"] == "T4"
    assert ScalingConfig().place_of(0) == {}


def test_a_dataset_runs_with_its_own_options_and_others_as_before():
    mine = DataConfig.default_ingest_options()
    mine.preserve_order = True
    assert DataConfig(execution_options={}).execution_options == {}
    config = DataConfig(execution_options={"train": mine})
    with config.running("train"):
        assert DataConfig.default_ingest_options().preserve_order
    with config.running("valid"):
        assert not DataConfig.default_ingest_options().preserve_order
    with DataConfig(execution_options=mine).running("valid"):
        assert DataConfig.default_ingest_options().preserve_order


@pytest.mark.parametrize(
    "asked",
    [
        {"num_workers": tune.grid_search([1, 2])},
        {"num_workers": tune.choice([1, 2])},
        {"resources_per_worker": {"CPU": tune.uniform(0.5, 1)}},
    ],
    ids=str,
)
def test_what_tune_is_to_choose_is_checked_when_it_has_chosen(asked):
    scaling = ScalingConfig(use_gpu=False, **asked)
    assert scaling.is_open
    with pytest.raises(ValueError, match=r"needs numbers, got ScalingConfig\(.*param_space"):
        DataParallelTrainer(print, scaling_config=scaling)
    assert not ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}).is_open
