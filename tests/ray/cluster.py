"""A Ray cluster of several nodes on this machine, by Ray's own `cluster_utils`."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.testing import leaks
from heliostat.testing.clock import until

NODE = {"num_cpus": 4, "object_store_memory": 200 << 20, "include_dashboard": False}
# A node that is gone is noticed within a second or two, not half a minute.
WATCHFUL = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}


@contextlib.contextmanager
def nodes(*shapes: dict[str, Any], **head: Any) -> Iterator[Any]:
    """A cluster with a node of each shape, the first its head; it is ended with the block."""
    utils = pytest.importorskip("ray.cluster_utils")
    before = leaks.take_census().processes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PROGRESS", "0")
        first, *others = shapes
        cluster = utils.Cluster(shutdown_at_exit=True)
        try:
            _add(cluster, {**NODE, **first, **head})
            for shape in others:
                _add(cluster, {**NODE, **shape})
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            for pid in leaks.take_census().processes.keys() - before.keys():
                with contextlib.suppress(ProcessLookupError):  # of a node that was killed
                    os.kill(pid, signal.SIGKILL)


def _add(cluster: Any, shape: dict[str, Any]) -> None:
    try:
        cluster.add_node(**shape)
    except Exception as error:
        if "timed out during startup" not in str(error) or cluster.head_node is not None:
            raise
        cluster.add_node(**shape)  # a busy machine: Ray waits for half a minute only


def dashboard() -> dict[str, Any]:
    """Options of a head node with a dashboard, on a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"include_dashboard": True, "dashboard_port": probe.getsockname()[1]}


def environment(cluster: Any, **more: str) -> dict[str, str]:
    """Of a process whose "auto" is this cluster."""
    return {**os.environ, "HELIOSTAT_ADDRESS": "auto", "RAY_ADDRESS": cluster.address, **more}


class Doomed:
    """The second node of a cluster, which is removed as soon as work says that it is there.

    Args:
        cluster: Of two nodes; this process has joined it.
        folder: Where work says so.
    """

    def __init__(self, cluster: Any, folder: Path) -> None:
        (self._node,) = cluster.worker_nodes
        self._cluster = cluster
        self._said = folder / "here"
        self.id = self._node.node_id[: len(ray.get_runtime_context().get_node_id())]
        self._thread = threading.Thread(target=self._remove)
        self.was_busy = False  # work was there when it was removed

    def _remove(self) -> None:
        until(self._said.exists, "work has come to the node", 60)
        self._cluster.remove_node(self._node, allow_graceful=False)

    def says(self) -> Callable[[], bool]:
        """What work is to call; tells whether it runs on this node, as soon as some does."""
        id_, said = self.id, self._said

        def here() -> bool:
            if ray.get_runtime_context().get_node_id() == id_:
                said.touch()
                return True
            # The other node would have done all of it before this one has its first worker.
            until(said.exists, "work has come to the node", 60)
            return False

        return here

    def __enter__(self) -> "Doomed":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.was_busy = self._said.exists()
        self._said.touch()
        self._thread.join()
