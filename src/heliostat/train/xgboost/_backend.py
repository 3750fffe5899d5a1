"""Joins ranks in XGBoost's own collective. It knows nothing of data or models.

The tracker, which introduces the ranks to each other, lives in rank 0's process and dies with
it. The communicator belongs to the thread that made it, so each loop runs inside one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from heliostat.train._worker_group import WorkerGroup
from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.context import get_context

# A dead rank is noticed by its process; a slow one must not be mistaken for it.
TIMEOUT_S = 7 * 24 * 3600
SHUTDOWN_S = 5


@dataclass(frozen=True)
class XGBoostConfig(BackendConfig):
    """How ranks are joined.

    Args:
        xgboost_communicator: Only "rabit".

    Example:
        >>> XGBoostConfig().xgboost_communicator
        'rabit'
    """

    xgboost_communicator: str = "rabit"

    def __post_init__(self) -> None:
        if self.xgboost_communicator != "rabit":
            raise NotImplementedError(
                f"xgboost_communicator={self.xgboost_communicator!r} is not offered; use 'rabit'"
            )

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that reads this."""
        return XGBoostBackend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """Every loop runs inside a communicator, if there is more than one rank."""
        return _communicator


class XGBoostBackend(Backend[XGBoostConfig]):
    """Starts the tracker, and tells every rank where it is."""

    def on_start(self, worker_group: WorkerGroup, backend_config: XGBoostConfig) -> None:
        """Start the tracker in rank 0's process."""
        size = len(worker_group)
        if size == 1:
            return
        if worker_group.shares_a_process:
            raise ValueError(
                f"XGBoost's {size} ranks must run at once, but this engine runs everything in one "
                "process; use ScalingConfig(num_workers=1), or heliostat.init(engine='local')"
            )
        tracker = worker_group.execute_single(0, _start_tracker, size)
        worker_group.execute(_remember_tracker, tracker)

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: XGBoostConfig) -> None:
        """End the tracker."""
        if len(worker_group) > 1:
            worker_group.execute_single(0, _end_tracker)


class _Here:
    """What belongs to this rank's process, which hosts one rank only."""

    tracker: RabitTracker | None = None
    where: dict[str, Any] | None = None


def _start_tracker(size: int) -> dict[str, Any]:
    _Here.tracker = RabitTracker(n_workers=size, host_ip="127.0.0.1", sortby="task")
    _Here.tracker.start()
    where: dict[str, Any] = _Here.tracker.worker_args()
    return where


def _remember_tracker(where: dict[str, Any]) -> None:
    _Here.where = where


def _end_tracker() -> None:
    tracker, _Here.tracker = _Here.tracker, None
    if tracker is not None:
        tracker.wait_for(SHUTDOWN_S)
        tracker.free()


@contextlib.contextmanager
def _communicator() -> Iterator[None]:
    if _Here.where is None:
        yield
        return
    rank = get_context().get_world_rank()
    arguments = {**_Here.where, "dmlc_timeout": TIMEOUT_S}
    with _native_output_dropped():
        # The tracker sorts by task name, so that XGBoost's ranks are ours.
        collective.init(**arguments, dmlc_task_id=f"{rank:08d}")
    try:
        yield
    except BaseException:
        # The tracker may be gone with rank 0. What XGBoost writes about that would bury the error.
        with _native_output_dropped(), contextlib.suppress(XGBoostError):
            collective.finalize()
        raise
    collective.finalize()


@contextlib.contextmanager
def _native_output_dropped() -> Iterator[None]:
    """XGBoost writes some lines past Python, such as one for each rank that joins."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
