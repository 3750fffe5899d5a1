"""Joins ranks in jax.distributed. It knows nothing of data or models.

JAX is not imported before the loop runs: what it computes on is settled by then.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from heliostat.train._held_port import HOST, hold_port
from heliostat.train._worker_group import WorkerGroup
from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.context import get_context


@dataclass(frozen=True)
class JaxConfig(BackendConfig):
    """What the ranks compute on.

    Args:
        use_tpu: Only False.
        use_gpu: Whether each rank computes on the GPUs it has reserved. JaxTrainer takes it from
            its `scaling_config`.

    Raises:
        NotImplementedError: For TPUs.

    Example:
        >>> JaxConfig().use_gpu
        False
    """

    use_tpu: bool = False
    use_gpu: bool = False

    def __post_init__(self) -> None:
        if self.use_tpu:
            raise NotImplementedError(
                f"JaxConfig(use_tpu={self.use_tpu!r}): there are no TPUs here; leave it out"
            )

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that reads this."""
        return JaxBackend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """Every loop runs with the ranks joined, if there is more than one."""
        return _joined


class JaxBackend(Backend[JaxConfig]):
    """Tells every rank where rank 0 will coordinate them."""

    def on_start(self, worker_group: WorkerGroup, backend_config: JaxConfig) -> None:
        """Hold a port in rank 0's process."""
        size = len(worker_group)
        if size > 1 and worker_group.shares_a_process:
            raise ValueError(
                f"jax.distributed's {size} ranks must run at once, but this engine runs everything "
                "in one process; use ScalingConfig(num_workers=1), or "
                "heliostat.init(engine='local')"
            )
        port = worker_group.execute_single(0, hold_port) if size > 1 else 0
        worker_group.execute(_remember, port, backend_config)


class _Here:
    """What belongs to this rank's process, which hosts one rank only."""

    port = 0


def _remember(port: int, config: JaxConfig) -> None:
    _Here.port = port
    if config.use_gpu:
        os.environ.setdefault("JAX_PLATFORMS", "cuda")


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    if not _Here.port:
        yield
        return
    jax: Any = importlib.import_module("jax")  # slow to load, and only ranks need it

    context = get_context()
    jax.distributed.initialize(
        f"{HOST}:{_Here.port}", context.get_world_size(), context.get_world_rank()
    )
    yield
    # Waits for the other ranks, so not after an error: the process ends soon.
    jax.distributed.shutdown()
