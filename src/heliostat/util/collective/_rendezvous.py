"""Where the ranks of a group meet: a named actor that knows who they are. Knows no torch.

What ranks tell each other to connect goes through a file in memory that the actor owns: no port is
opened for it, and nothing stays when the actor ends.
"""

from __future__ import annotations

import os
from typing import Any

import heliostat as ray

__all__ = ["Rendezvous", "find", "meet"]

NAMESPACE = "heliostat.collective"


class Rendezvous:
    """The members of one group."""

    def __init__(self) -> None:
        self._file = os.memfd_create("collective")
        self._size = 0
        self._declared: dict[str, int] = {}
        self._timeout_ms = 0
        self._backend = ""
        self._pids: dict[int, int] = {}

    def declare(self, ranks: dict[str, int], size: int, timeout_ms: int, backend: str) -> None:
        """Say which actor is which rank, before any of them has come."""
        self._declared, self._size, self._timeout_ms = ranks, size, timeout_ms
        self._backend = backend

    def declared(self, actor: str) -> tuple[int, int, int, str] | None:
        """The rank of an actor, the size of the group, its time-out and its backend."""
        if actor not in self._declared:
            return None
        return self._declared[actor], self._size, self._timeout_ms, self._backend

    def join(self, rank: int, size: int, pid: int) -> str:
        """A rank comes; where the file is.

        Raises:
            ValueError: If the rank is taken, or others gave another size.
        """
        if self._size not in (0, size):
            raise ValueError(f"world_size={size}, but other ranks said {self._size}")
        if rank in self._pids:
            raise ValueError(
                f"rank {rank} is taken by the process {self._pids[rank]}; a group that has lost a "
                "rank cannot be joined again: destroy it, or use another group_name"
            )
        self._size = size
        self._pids[rank] = pid
        return f"/proc/{os.getpid()}/fd/{self._file}"

    def pids(self) -> dict[int, int]:
        """The processes of the ranks that have come."""
        return self._pids


def meet(group: str) -> Any:
    """The rendezvous of a group; made if there is none. It lives while somebody holds it."""
    make = ray.remote(Rendezvous).options(
        name=group, namespace=NAMESPACE, get_if_exists=True, num_cpus=0
    )
    return make.remote()


def find(group: str) -> Any | None:
    """The rendezvous of a group, or None."""
    try:
        return ray.get_actor(group, namespace=NAMESPACE)
    except ValueError:
        return None
