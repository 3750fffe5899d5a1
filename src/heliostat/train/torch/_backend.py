"""Joins ranks in torch.distributed. It knows nothing of data or models.

Rank 0's process keeps the store where the ranks meet: it takes a free port itself, so none can be
taken in between. Each loop runs inside a process group, which ends with the loop, but not before all
ranks have joined it: to those that still connect, one that has left looks like one that died.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch._C._distributed_c10d import TCPStore  # torch.distributed has it, but does not say so

import heliostat
from heliostat.train._worker_group import WorkerGroup
from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.context import TrainContext, get_context

HOST = "127.0.0.1"
MEETINGS = ("env", "tcp")
# How long one that fails waits for those that still connect: its own error is what people need.
FAILING_S = 2


@dataclass(frozen=True)
class TorchConfig(BackendConfig):
    """How ranks are joined.

    Args:
        backend: "gloo", "nccl" or what else torch.distributed offers; None: nccl for ranks that
            have a CUDA device of their own, gloo for others.
        init_method: "env" or "tcp". Ranks meet in the same way: with both, MASTER_ADDR and
            MASTER_PORT tell where.
        timeout_s: Seconds after which a collective operation that waits for a rank fails.

    Raises:
        ValueError: For values that torch.distributed does not know.

    Example:
        >>> TorchConfig(backend="gloo").timeout_s
        1800
    """

    backend: str | None = None
    init_method: str = "env"
    timeout_s: int = 1800

    def __post_init__(self) -> None:
        if self.init_method not in MEETINGS:
            raise ValueError(f"init_method must be one of {MEETINGS}, got {self.init_method!r}")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {self.timeout_s!r}")
        kinds = [part.rpartition(":")[2] for part in (self.backend or "gloo").split(",")]
        for kind in kinds:
            if not distributed.is_backend_available(kind):
                raise ValueError(
                    f"backend={self.backend!r}: this build of PyTorch has no {kind!r}; "
                    f"it has {', '.join(_backends())}"
                )

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that reads this."""
        return TorchBackend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """Every loop runs inside a process group."""
        return _process_group


def _backends() -> list[str]:
    return [
        kind for kind in distributed.Backend.backend_list if distributed.is_backend_available(kind)
    ]


class TorchBackend(Backend[TorchConfig]):
    """Starts the store where ranks meet, and tells every rank where it is."""

    def on_start(self, worker_group: WorkerGroup, backend_config: TorchConfig) -> None:
        """Start the store in rank 0's process."""
        size = len(worker_group)
        if size > 1 and worker_group.shares_a_process:
            raise ValueError(
                f"torch.distributed's {size} ranks must run at once, but this engine runs "
                "everything in one process; use ScalingConfig(num_workers=1), or "
                "heliostat.init(engine='local')"
            )
        port = worker_group.execute_single(0, _open_store)
        worker_group.execute(_remember, port, backend_config)


class _Here:
    """What belongs to this rank's process, which hosts one rank only."""

    store: TCPStore | None = None
    port = 0
    config = TorchConfig()


def _open_store() -> int:
    _Here.store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    port: int = _Here.store.port
    return port


def _remember(port: int, config: TorchConfig) -> None:
    _Here.port, _Here.config = port, config


@contextlib.contextmanager
def _process_group() -> Iterator[None]:
    if not _Here.port:  # a loop in the driver's own process, which has no group
        yield
        return
    context, timeout = get_context(), datetime.timedelta(seconds=_Here.config.timeout_s)
    with _variables(context, _Here.port):
        if torch.cuda.is_available() and heliostat.get_gpu_ids():
            torch.cuda.set_device(0)
        store = _Here.store or TCPStore(HOST, _Here.port, timeout=timeout)
        kind = _Here.config.backend or _default_backend()
        distributed.init_process_group(
            kind,
            store=store,
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            timeout=timeout,
        )
        store.set(_joined(context.get_world_rank()), "")
        try:
            yield
        except BaseException:
            if "nccl" not in kind:  # which waits for ranks that may be gone; the process ends soon
                _wait_for_all(store, context, datetime.timedelta(seconds=FAILING_S))
                distributed.destroy_process_group()
            raise
        else:
            _wait_for_all(store, context, timeout)
            distributed.destroy_process_group()
        finally:
            _Here.port = 0
            if context.get_world_size() == 1:  # with others it stays: they may still ask it
                _Here.store = None


def _joined(rank: int) -> str:
    return f"heliostat/joined/{rank}"


def _wait_for_all(store: TCPStore, context: TrainContext, timeout: datetime.timedelta) -> None:
    """Wait until every rank has joined; who never does is not this rank's failure."""
    with contextlib.suppress(RuntimeError):  # it took too long, or rank 0 is gone
        store.wait([_joined(rank) for rank in range(context.get_world_size())], timeout)


def _default_backend() -> str:
    has_gpu = torch.cuda.is_available() and bool(heliostat.get_gpu_ids())
    return "nccl" if has_gpu and distributed.is_nccl_available() else "gloo"


@contextlib.contextmanager
def _variables(context: TrainContext, port: int) -> Iterator[None]:
    """What torchrun sets, for libraries that read it."""
    told = {
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "RANK": str(context.get_world_rank()),
        "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "NODE_RANK": str(context.get_node_rank()),
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
