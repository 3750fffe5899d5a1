"""Backend, BackendConfig: hooks around a group of ranks, for frameworks that need joining.

A Backend may run functions on the ranks (`WorkerGroup.execute`), such as joining a process
group. It does not know how ranks are started or restarted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from heliostat.train._worker_group import WorkerGroup

__all__ = ["Backend", "BackendConfig"]


class BackendConfig:
    """What a backend needs to know. Subclass it, and name the Backend that reads it.

    Example:
        >>> BackendConfig().backend_cls is Backend
        True
    """

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that goes with this."""
        return Backend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """Makes a context manager that every rank's loop runs in, in the loop's own thread."""
        return contextlib.nullcontext


ConfigT = TypeVar("ConfigT", bound=BackendConfig)


class Backend(Generic[ConfigT]):
    """Hooks around a group of ranks. What each does by default: nothing.

    Example:
        >>> class Hello(Backend[BackendConfig]):
        ...     def on_start(self, worker_group, backend_config):
        ...         worker_group.execute(print, "hello")
    """

    def on_start(self, worker_group: WorkerGroup, backend_config: ConfigT) -> None:
        """The ranks are up and numbered; no loop runs yet."""

    def on_training_start(self, worker_group: WorkerGroup, backend_config: ConfigT) -> None:
        """The loops are about to run; `get_context` works in what is executed now."""

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: ConfigT) -> None:
        """All loops have come to their end; not called for a group that failed."""
