import functools
import os
from pathlib import Path

import pytest

import heliostat
from heliostat.train import (
    Checkpoint,
    DataParallelTrainer,
    RunConfig,
    ScalingConfig,
    get_checkpoint,
    get_context,
    report,
)


@pytest.fixture
def inline():
    """A session in this process."""
    heliostat.init(engine="inline", num_cpus=4, num_gpus=0)
    yield
    heliostat.shutdown()


@pytest.fixture
def run_config(tmp_path):
    """A RunConfig that writes to a directory of the test's own and shows nothing."""

    def make(**options):
        return RunConfig(storage_path=tmp_path, verbose=0, **options)

    return make


def save(directory, **files):
    for name, value in files.items():
        Path(directory, name).write_text(str(value))
    return Checkpoint.from_directory(directory)


def counting(scratch, config):
    """Counts to `n`, saving each step; fails once at `fail_at` if it began from scratch."""
    rank, last = get_context().get_world_rank(), get_checkpoint()
    start = 0 if last is None else int(Path(last.path, "step").read_text()) + 1
    for step in range(start, config["n"]):
        if step == config.get("fail_at") and last is None:
            raise ValueError(f"no {step}")
        directory = Path(scratch, f"{step}-{rank}-{start}")
        directory.mkdir(parents=True)
        files = {"step": step} if rank == 0 else {f"rank-{rank}": step}
        report({"step": step, "loss": 1 / (step + 1)}, checkpoint=save(directory, **files))
    return start


@pytest.fixture
def trainer(tmp_path, run_config):
    def make(size=1, loop_config=None, **options):
        scratch = tmp_path.parent / f"{tmp_path.name}-scratch" / str(len(os.listdir(tmp_path)))
        return DataParallelTrainer(
            functools.partial(counting, str(scratch)),
            train_loop_config={"n": 3, **(loop_config or {})},
            scaling_config=ScalingConfig(num_workers=size),
            run_config=run_config(**options),
        )

    return make
