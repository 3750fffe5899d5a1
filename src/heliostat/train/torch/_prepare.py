"""What a loop for one process says to run on all ranks: device, model, data loader."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

import heliostat
from heliostat.train.context import get_context

STRATEGIES = ("ddp", "fsdp")

_log = logging.getLogger("heliostat.train")


class _Seed:
    """What `enable_reproducibility` was told in this process."""

    value: int | None = None


def get_device() -> torch.device:
    """The device of this rank: its first GPU if it has one, the CPU otherwise.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> from heliostat import train
        >>> from heliostat.train.torch import TorchTrainer, get_device
        >>> TorchTrainer(lambda: train.report({"on": str(get_device())}),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0)).fit().metrics
        {'on': 'cpu'}
    """
    return get_devices()[0]


def get_devices() -> list[torch.device]:
    """All devices of this rank, which sees only its own GPUs and calls the first of them cuda:0.

    Raises:
        SessionMisuseError: Outside a training loop.
    """
    get_context().get_world_rank()
    if not torch.cuda.is_available():
        return [torch.device("cpu")]
    local = get_context().get_world_size() == 1 and not heliostat.get_gpu_ids()
    seen = torch.cuda.device_count() if local else len(heliostat.get_gpu_ids())
    return [torch.device("cuda", index) for index in range(seen)] or [torch.device("cpu")]


def prepare_model(
    model: nn.Module,
    move_to_device: bool | torch.device = True,
    parallel_strategy: str | None = "ddp",
    parallel_strategy_kwargs: dict[str, Any] | None = None,
) -> nn.Module:
    """Move a model to the rank's device, and join it with those of the other ranks.

    Args:
        model: The same on every rank; with "ddp" all begin with the parameters of rank 0.
        move_to_device: Whether to move it, or where to.
        parallel_strategy: "ddp" (every rank has the whole model; gradients are averaged), "fsdp"
            (every rank has a shard of it) or None. One rank alone needs neither.
        parallel_strategy_kwargs: For `DistributedDataParallel` or `FullyShardedDataParallel`.

    Raises:
        ValueError: For a strategy that is neither.
        SessionMisuseError: Outside a training loop.

    Example:
        >>> import torch
        >>> from heliostat import train
        >>> from heliostat.train.torch import TorchTrainer, prepare_model
        >>> def loop():
        ...     train.report({"model": type(prepare_model(torch.nn.Linear(1, 1))).__name__})
        >>> TorchTrainer(loop, scaling_config=train.ScalingConfig(num_workers=2),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0)).fit().metrics
        {'model': 'DistributedDataParallel'}
    """
    if parallel_strategy is not None and parallel_strategy not in STRATEGIES:
        raise ValueError(
            f"parallel_strategy must be 'ddp', 'fsdp' or None, got {parallel_strategy!r}"
        )
    device = move_to_device if isinstance(move_to_device, torch.device) else get_device()
    if move_to_device:
        model = model.to(device)
    if parallel_strategy is None or get_context().get_world_size() == 1:
        return model
    options = dict(parallel_strategy_kwargs or {})
    if parallel_strategy == "ddp":
        if device.type == "cuda" and any(p.requires_grad for p in model.parameters()):
            options = {"device_ids": [device], "output_device": device, **options}
        return DistributedDataParallel(model, **options)
    from torch.distributed.fsdp import FullyShardedDataParallel  # noqa: PLC0415 - slow to import

    options = {"device_id": device if device.type == "cuda" else None, **options}
    return FullyShardedDataParallel(model, **options)


def prepare_data_loader(
    data_loader: DataLoader[Any],
    add_dist_sampler: bool = True,
    move_to_device: bool = True,
    auto_transfer: bool = True,
) -> DataLoader[Any]:
    """Make a data loader give each rank a part of the data, on its device.

    The part is chosen by a `DistributedSampler`, which shuffles if the loader did. Call
    `loader.sampler.set_epoch(epoch)` before each epoch to have it shuffled anew.

    Args:
        data_loader: Over the same dataset on every rank. An `IterableDataset` splits itself.
        add_dist_sampler: Whether to choose a part; not needed if the loader's sampler does.
        move_to_device: Whether batches are moved to the rank's device.
        auto_transfer: Whether the next batch is copied to a GPU while this one is worked on.
            Pinned memory (`DataLoader(pin_memory=True)`) makes that faster.

    Raises:
        ValueError: For a loader with a batch sampler of its own, which cannot be split.
        SessionMisuseError: Outside a training loop.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> from heliostat import train
        >>> from heliostat.train.torch import TorchTrainer, prepare_data_loader
        >>> def loop():
        ...     loader = prepare_data_loader(DataLoader(torch.arange(8), batch_size=2))
        ...     train.report({"rank 0 has": [batch.tolist() for batch in loader]})
        >>> TorchTrainer(loop, scaling_config=train.ScalingConfig(num_workers=2),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0)).fit().metrics
        {'rank 0 has': [[0, 2], [4, 6]]}
    """
    ranks = get_context().get_world_size()
    sampler = data_loader.sampler
    if (
        add_dist_sampler
        and ranks > 1
        and not isinstance(sampler, DistributedSampler)
        and not isinstance(data_loader.dataset, IterableDataset)
    ):
        data_loader = _split(data_loader, ranks)
    device = get_device()
    if move_to_device and device.type != "cpu":
        return _OnDevice(data_loader, device, ahead=auto_transfer)
    return data_loader


def _split(loader: DataLoader[Any], ranks: int) -> DataLoader[Any]:
    """The same loader over this rank's part of the data."""
    sampler = loader.sampler
    if loader.batch_size is None:
        raise ValueError(
            "prepare_data_loader() cannot split a loader with a batch sampler of its own, or none; "
            "let that choose this rank's part and say add_dist_sampler=False"
        )
    if type(sampler) not in (RandomSampler, SequentialSampler):
        _log.warning(
            "prepare_data_loader() puts a DistributedSampler in the place of %s; let that choose "
            "this rank's part and say add_dist_sampler=False to keep it",
            type(sampler).__name__,
        )
    part: DistributedSampler[Any] = DistributedSampler(
        loader.dataset,
        num_replicas=ranks,
        rank=get_context().get_world_rank(),
        shuffle=not isinstance(sampler, SequentialSampler),
        seed=_Seed.value or 0,
    )
    options = {
        name: getattr(loader, name)
        for name in (
            "batch_size", "num_workers", "collate_fn", "pin_memory", "drop_last", "timeout",
            "worker_init_fn", "multiprocessing_context", "generator", "persistent_workers",
            "pin_memory_device",
        )
    }  # fmt: skip
    if loader.num_workers:
        options["prefetch_factor"] = loader.prefetch_factor
    return DataLoader(loader.dataset, sampler=part, **options)


class _OnDevice(DataLoader[Any]):
    """A loader whose batches are on a GPU; everything else is the loader's own."""

    def __init__(self, loader: DataLoader[Any], device: torch.device, *, ahead: bool) -> None:
        # Not the constructor of DataLoader: this one has the attributes of another.
        self.__dict__.update(loader.__dict__)
        self.__dict__.update(_loader=loader, _device=device, _ahead=ahead)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # it is not torch's own
        loader, device = self.__dict__["_loader"], self.__dict__["_device"]
        if not self.__dict__["_ahead"]:
            return (_moved(batch, device) for batch in loader)
        return self._copied_ahead(iter(loader), device)

    def _copied_ahead(self, batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
        copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        work = torch.cuda.current_stream(device)
        nothing = object()

        def copy() -> Any:
            batch = next(batches, nothing)
            if batch is nothing:
                return nothing
            with torch.cuda.stream(copies):
                return _moved(batch, device, non_blocking=True)

        coming = copy()
        while coming is not nothing:
            work.wait_stream(copies)
            batch = coming
            for tensor in _tensors(batch):
                tensor.record_stream(work)
            coming = copy()
            yield batch


def _moved(batch: Any, device: torch.device, *, non_blocking: bool = False) -> Any:
    """The batch with every tensor in it on the device."""
    if hasattr(batch, "to"):
        try:
            return batch.to(device, non_blocking=non_blocking)
        except TypeError:  # a user's class that knows only where to
            return batch.to(device)
    if isinstance(batch, Mapping):
        moved = {key: _moved(v, device, non_blocking=non_blocking) for key, v in batch.items()}
        return moved if type(batch) is dict else type(batch)(moved)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(v, device, non_blocking=non_blocking) for v in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(v, device, non_blocking=non_blocking) for v in batch)
    return batch


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, Sequence) and not isinstance(batch, (str, bytes)):
        for value in batch:
            yield from _tensors(value)


def enable_reproducibility(seed: int = 0) -> None:
    """Limit what makes two runs differ: seed all generators, and allow only exact algorithms.

    Operations for which PyTorch has no deterministic algorithm raise an error from now on.

    Args:
        seed: For `random`, NumPy and PyTorch.

    Raises:
        SessionMisuseError: Outside a training loop.

    Source: https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    get_context().get_world_rank()
    import numpy as np  # noqa: PLC0415 - torch works without it

    _Seed.value = seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
