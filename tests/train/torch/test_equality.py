"""Two ranks compute what torch.distributed alone computes, bit for bit, however often they die."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

import heliostat
from heliostat.train import (
    Checkpoint,
    FailureConfig,
    UserCallback,
    get_checkpoint,
    get_context,
    get_dataset_shard,
    report,
)
from heliostat.train.torch import prepare_model

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
STEPS, BATCH, ROWS = 24, 8, 400


def made():
    torch.manual_seed(7)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    x = torch.randn(ROWS, 6)
    return model, x, x.sum(1, keepdim=True).sin()


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def train_alone(rank, size, path):
    """The loop as people write it for torch.distributed."""
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    model, x, y = made()
    model = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for i in range(STEPS):
        rows = slice((i * size + rank) * BATCH, (i * size + rank + 1) * BATCH)
        step(model, optimizer, x[rows], y[rows])
    if rank == 0:
        torch.save(model.module.state_dict(), path)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The weights that processes of torch.distributed alone end with."""
    path = tmp_path_factory.mktemp("alone") / "weights.pt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_equality import train_alone\n"
        "rank = 0 if os.fork() else 1\n"
        f"train_alone(rank, 2, {str(path)!r})\n"
        "assert rank == 1 or os.wait()[1] == 0"
    )
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=150)
    return torch.load(path)


def loop(config):
    """The same with prepare_model; it saves each step, and goes on where it was."""
    model, x, y = made()
    model = prepare_model(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first, last = 0, get_checkpoint()
    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    if last is not None:
        state = torch.load(Path(last.path, "state.pt"))
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"] + 1
    for i in range(first, STEPS):
        rows = slice((i * size + rank) * BATCH, (i * size + rank + 1) * BATCH)
        loss = step(model, optimizer, x[rows], y[rows])
        checkpoint = None
        if rank == 0:
            directory = Path(config["scratch"], f"{os.getpid()}-{i}")
            directory.mkdir()
            state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": i}, directory / "state.pt")
            checkpoint = Checkpoint(directory)
        report({"loss": loss, "pid": os.getpid(), "step": i}, checkpoint=checkpoint)
    return model.module.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_two_ranks_end_with_the_weights_of_torch_alone(fit, expected, tmp_path_factory):
    config = {"scratch": str(tmp_path_factory.mktemp("scratch"))}
    result = fit(loop, train_loop_config=config)
    assert same(result.return_value, expected)


class KillNowAndThen(UserCallback):
    """Kills a rank at random steps, while it computes the next one."""

    def __init__(self, seed, times):
        rng = random.Random(seed)
        self.plan = {at: rng.choice([0, 1]) for at in rng.sample(range(1, STEPS - 1), times)}

    def after_report(self, run_context, metrics, checkpoint):
        victim = self.plan.pop(metrics[0]["step"], None)
        if victim is not None:
            os.kill(metrics[victim]["pid"], signal.SIGKILL)


def test_killed_three_times_at_random_it_ends_with_the_same_weights(
    fit, expected, tmp_path_factory
):
    config = {"scratch": str(tmp_path_factory.mktemp("scratch"))}
    killer = KillNowAndThen(seed=time.time_ns() % 1000, times=3)
    plan = dict(killer.plan)
    run = {"callbacks": [killer], "failure_config": FailureConfig(max_failures=3)}
    result = fit(loop, train_loop_config=config, run=run)
    assert same(result.return_value, expected), plan
    assert killer.plan == {}
    assert list(result.metrics_dataframe["step"]) == list(range(STEPS)), plan


def reading(config):
    """Reads its shard in batches, and saves each time where it is."""
    shard, last, seen = get_dataset_shard("train"), get_checkpoint(), []
    rank = get_context().get_world_rank()
    if last is not None:
        state = torch.load(Path(last.path, f"rank-{rank}.pt"))
        shard.load_state(state["at"])
        seen = state["seen"]
    batches = shard.iter_torch_batches(batch_size=16, local_shuffle_buffer_size=40)
    for number, batch in enumerate(batches):
        seen = [*seen, *batch["id"].tolist()]
        directory = Path(config["scratch"], f"{os.getpid()}-{number}")
        directory.mkdir()
        torch.save({"at": shard.state(), "seen": seen}, directory / f"rank-{rank}.pt")
        report(
            {"step": len(seen) // 16 - 1, "pid": os.getpid(), "rows": np.sum(seen)},
            checkpoint=Checkpoint(directory),
        )
    return seen


def test_a_kill_in_mid_epoch_repeats_and_loses_no_row(fit, tmp_path_factory):
    config = {"scratch": str(tmp_path_factory.mktemp("scratch"))}
    killer = KillNowAndThen(seed=0, times=0)
    killer.plan = {2: 1, 5: 0}
    result = fit(
        reading,
        train_loop_config=config,
        run={"callbacks": [killer], "failure_config": FailureConfig(max_failures=2)},
        datasets={"train": heliostat.data.range(320)},
    )
    assert killer.plan == {}
    each = [torch.load(Path(result.checkpoint.path, f"rank-{rank}.pt"))["seen"] for rank in (0, 1)]
    assert sorted(each[0] + each[1]) == list(range(320))
    assert each[0] != sorted(each[0])
