"""Tells every rank in TF_CONFIG where all ranks are. TensorFlow joins them, not we."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import heliostat
from heliostat.train._held_port import HOST, hold_port, let_go
from heliostat.train._worker_group import WorkerGroup
from heliostat.train.backend import Backend, BackendConfig

VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class TensorflowConfig(BackendConfig):
    """How ranks are joined: there is nothing to choose.

    Example:
        >>> TensorflowConfig().backend_cls.__name__
        'TensorflowBackend'
    """

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that goes with this."""
        return TensorflowBackend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """TF_CONFIG is there for as long as the loop runs."""
        return _told


class TensorflowBackend(Backend[TensorflowConfig]):
    """Gives every rank a port, and tells all of them about all ports."""

    def on_start(self, worker_group: WorkerGroup, backend_config: TensorflowConfig) -> None:
        """Hold a port in each rank's process, and set TF_CONFIG."""
        size = len(worker_group)
        if worker_group.shares_a_process:
            raise ValueError(
                f"TensorFlow's {size} ranks must run at once, but this engine runs everything in "
                "one process; use ScalingConfig(num_workers=1), or heliostat.init(engine='local')"
            )
        workers = [f"{HOST}:{port}" for port in worker_group.execute(hold_port)]
        heliostat.get([
            worker.execute.remote(_set, workers, rank)
            for rank, worker in enumerate(worker_group.workers)
        ])  # fmt: skip


def _set(workers: list[str], rank: int) -> None:
    task = {"type": "worker", "index": rank}
    os.environ[VARIABLE] = json.dumps({"cluster": {"worker": workers}, "task": task})


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Take TF_CONFIG back afterwards: a rank may run in the driver's own process."""
    try:
        yield
    finally:
        if os.environ.pop(VARIABLE, None) is not None:
            let_go()
