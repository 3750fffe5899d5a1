"""Tells LightGBM's ranks where they meet. It knows nothing of data or models.

LightGBM is told a port for every rank and opens it when training begins. Until the rank asks for
its parameters it holds the port itself, so that nobody takes it in between. From there to LightGBM's
own opening nobody holds it: it is none of those that the system gives to whoever asks for any.
"""

from __future__ import annotations

import logging
import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

import heliostat
from heliostat.train import current
from heliostat.train._worker_group import WorkerGroup
from heliostat.train.backend import Backend, BackendConfig

HOST = "127.0.0.1"
FIRST_PORT = 10_000  # below, servers have theirs
TRIES = 100

_log = logging.getLogger("heliostat.train")


@dataclass(frozen=True)
class LightGBMConfig(BackendConfig):
    """How ranks are joined: there is nothing to choose.

    Example:
        >>> LightGBMConfig().backend_cls.__name__
        'LightGBMBackend'
    """

    @property
    def backend_cls(self) -> type[Backend[Any]]:
        """The Backend that goes with this."""
        return LightGBMBackend


class LightGBMBackend(Backend[LightGBMConfig]):
    """Gives every rank a port, and tells all of them about all ports."""

    def on_start(self, worker_group: WorkerGroup, backend_config: LightGBMConfig) -> None:
        """Hold a port in each rank's process."""
        size = len(worker_group)
        if size > 1 and worker_group.shares_a_process:
            raise ValueError(
                f"LightGBM's {size} ranks must run at once, but this engine runs everything in one "
                "process; use ScalingConfig(num_workers=1), or heliostat.init(engine='local')"
            )
        if size == 1:
            worker_group.execute(_remember, [])
            return
        ports = worker_group.execute(_hold_port)
        heliostat.get(worker_group.execute_async(_remember, ports))


class _Here:
    """What belongs to this rank's process, which hosts one rank only."""

    held: socket.socket | None = None
    port = 0
    network: dict[str, Any] | None = None


def _hold_port() -> int:
    _Here.held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for port in (*random.sample(_ports_to_choose(), TRIES), 0):
        try:
            _Here.held.bind((HOST, port))
            break
        except OSError:
            continue
    _Here.port = _Here.held.getsockname()[1]
    return _Here.port


def _ports_to_choose() -> list[int]:
    """Those that the system gives to nobody by itself."""
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first, last = map(int, text.split())
    most = [port for port in range(FIRST_PORT, 1 << 16) if not first <= port <= last]
    return most if len(most) > TRIES else list(range(FIRST_PORT, 1 << 16))


def _remember(ports: list[int]) -> None:
    _Here.network = {}
    if ports:
        _Here.network = {
            "machines": ",".join(f"{HOST}:{port}" for port in ports),
            "local_listen_port": _Here.port,
            "num_machines": len(ports),
        }


def get_network_params() -> dict[str, Any]:
    """What `lightgbm.train` needs in its parameters to train together with the other ranks.

    Returns:
        `machines`, `local_listen_port` and `num_machines`; nothing for a rank that is alone, and
        outside a LightGBMTrainer's loop, with a warning.

    Example:
        >>> # lightgbm.train({"objective": "binary", "tree_learner": "data_parallel",
        >>> #                 "pre_partition": True, **get_network_params()}, rows)
    """
    if _Here.network is None or not current.hosts_a_rank():  # a loop was here before
        _log.warning(
            "heliostat.train.lightgbm.get_network_params() was called outside the loop of a "
            "LightGBMTrainer: there are no other ranks, and nothing is returned"
        )
        return {}
    held, _Here.held = _Here.held, None
    if held is not None:
        # LightGBM joins the ranks, and writes of each socket, before it has read how much it is to
        # write. What it reads last before that is this.
        lightgbm.Dataset(np.zeros((2, 1)), params={"verbosity": -1}).construct()
        held.close()
    return dict(_Here.network)
