"""Ranks meet in torch.distributed for as long as their loops run, and leave nothing behind."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import distributed

from heliostat import train
from heliostat.train import TrainingFailedError
from heliostat.train.torch import TorchConfig, _backend


def test_ranks_add_up_what_each_has(fit):
    def loop():
        mine = torch.tensor([float(train.get_context().get_world_rank() + 1)])
        distributed.all_reduce(mine)
        train.report({"sum": mine.item(), "backend": distributed.get_backend()})

    assert fit(loop).metrics == {"sum": 3.0, "backend": "gloo"}


def test_the_environment_says_what_torchrun_would(fit):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR")

    def loop():
        everyone = [None, None]
        distributed.all_gather_object(everyone, [os.environ[name] for name in names])
        return everyone, os.environ["MASTER_PORT"].isdigit()

    told, has_port = fit(loop).return_value
    assert told == [["0", "2", "0", "2", "0", "127.0.0.1"], ["1", "2", "1", "2", "0", "127.0.0.1"]]
    assert has_port


@contextlib.contextmanager
def _group_that_rank_1_joins_late():
    """As if rank 1 were still connecting; each rank notes when it has joined, and when it has left."""
    rank, join = train.get_context().get_world_rank(), distributed.init_process_group

    def late(*args, **kwargs):
        join(*args, **kwargs)
        time.sleep(1.5 * rank)
        Path(os.environ["NOTES"], f"joined-{rank}").write_text(str(time.monotonic()))

    distributed.init_process_group = late
    try:
        with _backend._process_group():
            yield
    finally:
        distributed.init_process_group = join
        Path(os.environ["NOTES"], f"left-{rank}").write_text(str(time.monotonic()))


@dataclass(frozen=True)
class LateConfig(TorchConfig):
    @property
    def train_func_context(self):
        return _group_that_rank_1_joins_late


@pytest.mark.parametrize("fails", [False, True])
def test_who_has_done_early_leaves_when_all_have_joined(fit, tmp_path, fails):
    def loop():
        if fails and train.get_context().get_world_rank() == 0:
            raise KeyError("rank 0 is to blame")

    environment = {"worker_runtime_env": {"env_vars": {"NOTES": str(tmp_path)}}}
    outcome = pytest.raises(TrainingFailedError, match="rank 0 is to blame")
    with outcome if fails else contextlib.nullcontext():
        fit(loop, torch_config=LateConfig(), run=environment)
    joined = float((tmp_path / "joined-1").read_text())
    assert joined <= float((tmp_path / "left-0").read_text())


def test_one_rank_has_a_group_of_its_own(fit):
    assert fit(lambda: distributed.get_world_size(), 1).return_value == 1


def test_a_rank_that_raises_ends_those_that_wait_for_it(fit):
    def loop():
        if train.get_context().get_world_rank() == 1:
            raise KeyError("rank 1 is to blame")
        distributed.all_reduce(torch.ones(1))

    start = time.monotonic()
    with pytest.raises(TrainingFailedError, match="rank 1 is to blame"):
        fit(loop)
    assert time.monotonic() - start < 30


def test_a_rank_that_is_killed_ends_those_that_wait_for_it(fit):
    def loop():
        if train.get_context().get_world_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.all_reduce(torch.ones(1))

    start = time.monotonic()
    with pytest.raises(TrainingFailedError, match="rank 1"):
        fit(loop)
    assert time.monotonic() - start < 30


def test_a_rank_that_does_not_come_is_not_waited_for_longer_than_said(fit):
    def loop():
        if train.get_context().get_world_rank() == 0:
            distributed.all_reduce(torch.ones(1))
        else:
            time.sleep(60)

    start = time.monotonic()
    with pytest.raises(TrainingFailedError, match=r"(?i)timed? ?out"):
        fit(loop, torch_config=TorchConfig(timeout_s=2))
    assert time.monotonic() - start < 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "smoke"}, "smoke"),
        ({"init_method": "file"}, "init_method"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_a_wrong_configuration_is_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        TorchConfig(**options)
