import time

import pytest

import heliostat
from heliostat.train import (
    DataParallelTrainer,
    ScalingConfig,
    TrainingFailedError,
    get_context,
    report,
)
from heliostat.train.collective import barrier, broadcast_from_rank_zero


@pytest.fixture(scope="module", autouse=True)
def session():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


@pytest.fixture
def fit(run_config):
    def run(loop, size=2):
        scaling = ScalingConfig(num_workers=size)
        return DataParallelTrainer(loop, scaling_config=scaling, run_config=run_config()).fit()

    return run


@pytest.mark.parametrize("size", [0, 1, 2])
def test_every_rank_gets_what_rank_0_has(fit, size):
    def loop():
        rank, got = get_context().get_world_rank(), []
        for step in range(3):
            got.append(broadcast_from_rank_zero((step, rank)))
            report({"got": got})
        assert got == [(0, 0), (1, 0), (2, 0)]

    assert len(fit(loop, size).metrics["got"]) == 3


def test_no_rank_passes_a_barrier_before_the_last_has_come(fit):
    def loop():
        late = get_context().get_world_rank() == 1
        if late:
            deadline = time.monotonic() + 0.2
            while time.monotonic() < deadline:
                pass
        came = time.monotonic()
        barrier()
        report({"waited": time.monotonic() - came, "late": late})

    assert fit(loop).metrics["waited"] > 0.1


def test_a_rank_that_raises_ends_those_that_wait_for_it(fit):
    def loop():
        if get_context().get_world_rank() == 1:
            raise ValueError("not today")
        barrier()

    with pytest.raises(TrainingFailedError, match="not today"):
        fit(loop)


def test_ranks_that_do_different_things_are_told_which(fit):
    def loop():
        if get_context().get_world_rank() == 1:
            barrier()
        else:
            report({})

    with pytest.raises(TrainingFailedError, match="rank 1 made one, rank 0 called report"):
        fit(loop)


def test_outside_a_loop_there_is_nobody_to_meet():
    with pytest.raises(RuntimeError, match="outside a training loop"):
        barrier()
