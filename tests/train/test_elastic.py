"""Groups that grow when there is room, and shrink after a failure, on the local engine."""

import os
import signal
import sys
from pathlib import Path

import cloudpickle
import pytest

import heliostat
from heliostat.train import (
    Checkpoint,
    DataParallelTrainer,
    FailureConfig,
    ScalingConfig,
    UserCallback,
    get_checkpoint,
    get_context,
    report,
)

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
MANY = 2000


@pytest.fixture(scope="module", autouse=True)
def local():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


class Holder:
    """Has a CPU until it is killed."""

    def ready(self):
        return True


def hold():
    holder = heliostat.remote(num_cpus=1)(Holder).remote()
    heliostat.get(holder.ready.remote())
    return holder


class OnReport(UserCallback):
    def __init__(self, act):
        self.act = act

    def after_report(self, run_context, metrics, checkpoint):
        if self.act is not None:
            act, self.act = self.act, None
            act()


def fit(loop, run_config, act, **options):
    return DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=(1, 2), elastic_resize_monitor_interval_s=0.05),
        run_config=run_config(callbacks=[OnReport(act)], **options),
    ).fit()


def counting(scratch, until):
    """Counts, saving each step, until the group has so many ranks."""
    last, size = get_checkpoint(), get_context().get_world_size()
    start = int(Path(last.path, "step").read_text()) + 1 if last else 0
    for step in range(start, MANY):
        directory = Path(scratch, f"{start}-{step}-{get_context().get_world_rank()}")
        directory.mkdir()
        (directory / "step").write_text(str(step))
        report({"step": step, "size": size}, checkpoint=Checkpoint(directory))
        if size == until:
            return step
    raise AssertionError("the group kept its size")


def test_a_group_grows_when_there_is_room_and_loses_no_step(run_config, tmp_path_factory):
    scratch, holder = tmp_path_factory.mktemp("scratch"), hold()
    result = fit(lambda: counting(scratch, 2), run_config, lambda: heliostat.kill(holder))
    frame = result.metrics_dataframe
    assert list(frame["step"]) == list(range(len(frame)))
    sizes = list(frame["size"])
    assert sizes == sorted(sizes)
    assert set(sizes) == {1, 2}


def test_a_group_starts_smaller_when_a_failure_leaves_less_room(run_config, tmp_path_factory):
    scratch, held = tmp_path_factory.mktemp("scratch"), []

    def loop():
        size = get_context().get_world_size()
        report({"size": size})
        if size == 2 and get_context().get_world_rank() == 1:
            while not (scratch / "queued").exists():
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        if size == 2:
            signal.pause()

    def queue_for_a_cpu():
        # Asked for before the ranks come back, so it is served before them.
        held.append(heliostat.remote(num_cpus=1)(Holder).remote())
        (scratch / "queued").touch()

    once = FailureConfig(max_failures=1)
    result = fit(loop, run_config, queue_for_a_cpu, failure_config=once)
    assert list(result.metrics_dataframe["size"]) == [2, 1]
    heliostat.kill(held[0])
