"""A loop for one process runs on all ranks, and learns what it would have learnt by hand."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from heliostat import train
from heliostat.testing.clock import until
from heliostat.train.torch import (
    enable_reproducibility,
    get_device,
    get_devices,
    prepare_data_loader,
    prepare_model,
)

ROWS = 64


def data():
    make = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 3, generator=make)
    return TensorDataset(x, x.sum(1, keepdim=True))


def learn(model, loader, sampler, epochs, first=0, save=None):
    """The loop that both sides run."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(first, epochs):
        sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        if save is not None:
            save(epoch, model)
    return [p.detach().clone() for p in model.parameters()]


BY_HAND = """
import os, pickle, sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
sys.path.insert(0, {here!r})
from test_prepare import data, learn
rank = int(sys.argv[1])
distributed.init_process_group("gloo", "tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(5)
model = DistributedDataParallel(torch.nn.Linear(3, 1))
sampler = DistributedSampler(data(), 2, rank, shuffle=True)
learnt = learn(model, DataLoader(data(), 8, sampler=sampler), sampler, 3)
if rank == 0:
    with open({out!r}, "wb") as file:
        pickle.dump([p.numpy() for p in learnt], file)
distributed.barrier()  # who ended while the other still talks to it would be aborted
distributed.destroy_process_group()
os._exit(0)  # at a busy moment torch's own threads outlive the interpreter, which is aborted then
"""


def by_hand(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = tmp_path / "by_hand"
    code = BY_HAND.format(here=str(Path(__file__).parent), port=port, out=str(out))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([sys.executable, "-c", code, str(rank)], env=environment)
        for rank in range(2)
    ]
    assert [rank.wait(120) for rank in ranks] == [0, 0]
    import pickle

    return [torch.tensor(array) for array in pickle.loads(out.read_bytes())]


def as_one(config):
    """Learn, saving each epoch; is killed where the config says so, once for each time."""
    torch.manual_seed(5)
    model = prepare_model(torch.nn.Linear(3, 1))
    loader = prepare_data_loader(DataLoader(data(), 8, shuffle=True))
    first, last = 0, train.get_checkpoint()
    if last is not None:
        with last.as_directory() as directory:
            saved = torch.load(Path(directory, "state.pt"))
        model.load_state_dict(saved["model"])
        first = saved["epoch"] + 1

    def save(epoch, model):
        killed = Path(config["scratch"], f"killed-{epoch}")
        if epoch in config["dies"] and not killed.exists():
            distributed.barrier()
            if train.get_context().get_world_rank() == 1:
                killed.touch()
                os.kill(os.getpid(), 9)
            distributed.barrier()
        directory = Path(config["scratch"], f"{epoch}-{first}-{os.getpid()}")
        directory.mkdir()
        checkpoint = None
        if train.get_context().get_world_rank() == 0:
            torch.save({"model": model.state_dict(), "epoch": epoch}, directory / "state.pt")
            checkpoint = train.Checkpoint.from_directory(directory)
        train.report({"epoch": epoch}, checkpoint=checkpoint)

    learnt = learn(model, loader, loader.sampler, 3, first, save)
    return [p.numpy() for p in learnt]


@pytest.mark.parametrize("dies", [(), (0, 1, 2)], ids=["undisturbed", "killed three times"])
def test_ranks_learn_to_the_bit_what_they_would_have_learnt_by_hand(fit, tmp_path, dies):
    (tmp_path / "scratch").mkdir()
    result = fit(
        as_one,
        train_loop_config={"scratch": str(tmp_path / "scratch"), "dies": dies},
        run={"failure_config": train.FailureConfig(max_failures=len(dies))},
    )
    expected = by_hand(tmp_path)
    found = [torch.tensor(array) for array in result.return_value]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(list((tmp_path / "scratch").glob("killed-*"))) == len(dies)


def gathered(value):
    everyone = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, value)
    return everyone


def test_each_row_goes_to_one_rank_and_each_epoch_is_shuffled_anew(fit):
    def loop():
        loader = prepare_data_loader(DataLoader(torch.arange(40), 4, shuffle=True))
        epochs = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            epochs.append([row for batch in loader for row in batch.tolist()])
        return gathered(epochs)

    ranks = fit(loop).return_value
    for epoch in range(2):
        assert sorted(ranks[0][epoch] + ranks[1][epoch]) == list(range(40))
    assert ranks[0][0] != ranks[0][1]


def test_a_loader_keeps_all_that_it_was_made_with(fit):
    def double(rows):
        return [2 * int(row) for row in rows]

    def loop():
        loader = DataLoader(
            torch.arange(11), 2, collate_fn=double, drop_last=True, num_workers=1,
            prefetch_factor=3, persistent_workers=True,
        )  # fmt: skip
        ours = prepare_data_loader(loader)
        kept = [ours.drop_last, ours.num_workers, ours.prefetch_factor, ours.persistent_workers]
        return gathered([*kept, list(ours)])

    first, second = fit(loop).return_value
    assert first[:4] == second[:4] == [True, 1, 3, True]
    assert [row for batch in first[4] for row in batch] == [0, 4, 8, 12, 16, 20]


def test_what_splits_itself_or_is_alone_is_left_as_it_is(fit):
    class Endless(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    def loop():
        own = DataLoader(Endless(), 2)
        alone = DataLoader(torch.arange(4), 2, shuffle=True)
        several = distributed.get_world_size() > 1
        return (
            prepare_data_loader(own) is own,
            several or prepare_data_loader(alone) is alone,
            prepare_data_loader(alone, add_dist_sampler=False) is alone,
        )

    assert fit(loop).return_value == (True, True, True)
    assert fit(loop, 1).return_value == (True, True, True)


def test_a_batch_sampler_of_ones_own_cannot_be_split(fit):
    def loop():
        prepare_data_loader(DataLoader(torch.arange(4), batch_sampler=[[0, 1], [2, 3]]))

    with pytest.raises(train.TrainingFailedError, match="add_dist_sampler=False"):
        fit(loop)


def test_a_sampler_of_ones_own_is_replaced_with_a_word_about_it(fit, capfd):
    def loop():
        sampler = WeightedRandomSampler([1.0] * 4, 4)
        ours = prepare_data_loader(DataLoader(torch.arange(4), 2, sampler=sampler))
        return type(ours.sampler).__name__

    assert fit(loop).return_value == "DistributedSampler"
    said = [""]  # the worker's line comes by a pipe of its own, perhaps after the result
    until(lambda: said.append(capfd.readouterr().err) or "WeightedRandomSampler" in "".join(said))


def test_a_model_is_joined_with_those_of_the_other_ranks(fit):
    def loop():
        rank = train.get_context().get_world_rank()
        torch.manual_seed(rank)
        joined = prepare_model(torch.nn.Linear(1, 1))
        apart = prepare_model(torch.nn.Linear(1, 1), parallel_strategy=None)
        joined(torch.full((1, 1), float(rank + 1))).sum().backward()
        weight = joined.module.weight
        return gathered(
            [type(joined).__name__, type(apart).__name__, weight.item(), weight.grad.item()]
        )

    first, second = fit(loop).return_value
    assert first == second
    assert first[:2] == ["DistributedDataParallel", "Linear"]
    assert first[3] == 1.5  # the mean of the gradients, 1 and 2


def test_one_rank_alone_has_its_model_as_it_is(fit):
    def loop():
        model = torch.nn.Linear(1, 1)
        return prepare_model(model) is model

    assert fit(loop, 1).return_value is True


def test_options_reach_the_wrapper(fit):
    def loop():
        options = {"find_unused_parameters": True}
        model = prepare_model(torch.nn.Linear(1, 1), parallel_strategy_kwargs=options)
        return model.find_unused_parameters

    assert fit(loop).return_value is True


def test_an_unknown_strategy_is_refused(fit):
    with pytest.raises(train.TrainingFailedError, match="parallel_strategy"):
        fit(lambda: prepare_model(torch.nn.Linear(1, 1), parallel_strategy="magic"), 1)


def test_without_a_gpu_the_device_is_the_cpu(fit):
    def loop():
        return [str(get_device()), [str(device) for device in get_devices()]]

    assert fit(loop, 1).return_value == ["cpu", ["cpu"]]


@pytest.mark.parametrize("function", [get_device, get_devices, enable_reproducibility])
def test_outside_a_loop_there_is_no_device(function):
    with pytest.raises(RuntimeError, match="outside a training loop"):
        function()


def test_a_seed_makes_two_runs_equal(fit):
    def loop():
        import random

        import numpy as np

        enable_reproducibility(7)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert fit(loop, 1).return_value == fit(loop, 1).return_value
