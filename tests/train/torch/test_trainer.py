"""A trainer that runs in the driver's own process leaves nothing there."""

import os

import pytest
from torch import distributed

import heliostat
from heliostat.train import RunConfig, ScalingConfig, TrainingFailedError
from heliostat.train.torch import TorchTrainer


@pytest.fixture(autouse=True)
def inline():
    heliostat.init(engine="inline", num_cpus=2)
    yield
    heliostat.shutdown()


def test_no_group_is_left_in_a_process_that_goes_on(tmp_path):
    for _ in range(2):
        result = TorchTrainer(
            lambda: distributed.get_world_size(),
            scaling_config=ScalingConfig(num_workers=1),
            run_config=RunConfig(storage_path=tmp_path, verbose=0),
        ).fit()
        assert result.return_value == 1
        assert not distributed.is_initialized()
        assert "MASTER_PORT" not in os.environ


def test_no_group_is_left_by_a_loop_that_raises(tmp_path):

    def loop():
        raise ValueError("not today")

    trainer = TorchTrainer(loop, run_config=RunConfig(storage_path=tmp_path, verbose=0))
    with pytest.raises(TrainingFailedError, match="not today"):
        trainer.fit()
    assert not distributed.is_initialized()


def test_ranks_that_cannot_run_at_once_are_refused(tmp_path):
    trainer = TorchTrainer(
        lambda: None,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=tmp_path, verbose=0),
    )
    with pytest.raises(Exception, match="must run at once"):
        trainer.fit()


def test_the_trainer_takes_no_other_configuration():
    with pytest.raises(TypeError, match="TorchConfig"):
        TorchTrainer(lambda: None, torch_config={"backend": "gloo"})
