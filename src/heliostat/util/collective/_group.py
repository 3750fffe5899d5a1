"""One rank of a group on torch's gloo: what it does, and who is to blame when that fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

import heliostat as ray
from heliostat.exceptions import RayError
from heliostat.util.collective.types import ReduceOp

__all__ = ["Group", "torch_or_refuse"]

UNTOLD = ("send", "recv", "reducescatter")  # their work is not completed before it is waited for
LOOK_S = 0.5  # how often to look whether the others live


def torch_or_refuse() -> Any:
    """The torch that there is.

    Raises:
        ImportError: If there is none.
    """
    try:
        import torch  # noqa: PLC0415 - an optional package, and slow to load
    except ImportError as error:
        raise ImportError(
            "heliostat.util.collective needs torch, whose gloo it uses; pip install torch"
        ) from error
    return torch


class Group:
    """This process as one rank of a group."""

    def __init__(self, name: str, rank: int, size: int, timeout_ms: int, rendezvous: Any) -> None:
        self.name = name
        self.rank = rank
        self.size = size
        self._rendezvous = rendezvous
        self._torch = torch_or_refuse()
        self._pids: dict[int, int] = {}
        path = ray.get(rendezvous.join.remote(rank, size, os.getpid()))
        self._gloo = self._connect(path, timeout_ms)
        self._pids = ray.get(rendezvous.pids.remote())

    @property
    def group_name(self) -> str:
        """What it is called."""
        return self.name

    @property
    def world_size(self) -> int:
        """How many ranks it has."""
        return self.size

    def _connect(self, path: str, timeout_ms: int) -> Any:
        dist = self._torch.distributed
        options = dist.ProcessGroupGloo._Options()
        options._timeout = timedelta(milliseconds=timeout_ms)
        options._devices = [dist.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
        store = dist.PrefixStore(self.name, dist.FileStore(path, -1))
        store.set_timeout(timedelta(milliseconds=timeout_ms))
        try:
            return dist.ProcessGroupGloo(store, self.rank, self.size, options)
        except RuntimeError as error:
            came = ray.get(self._rendezvous.pids.remote())
            missing = sorted(set(range(self.size)) - set(came)) or "none"
            raise RayError(
                f"rank {self.rank} of collective group {self.name!r} waited {timeout_ms} ms for "
                f"the others; ranks that did not come: {missing}. Every rank has to call "
                "init_collective_group"
            ) from error

    def tensor(self, value: Any) -> Any:
        """The value as a tensor of the same memory.

        Raises:
            TypeError: For what is no array and no CPU tensor.
            ValueError: For a read-only array.
        """
        torch = self._torch
        if isinstance(value, torch.Tensor):
            if value.device.type != "cpu":
                raise TypeError(f"gloo takes CPU tensors, got one on {value.device}; use .cpu()")
            return value
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"collective calls take numpy arrays and torch tensors, got {type(value).__name__}"
            )
        if not value.flags.writeable:
            raise ValueError(
                "the array is read-only, as what heliostat.get returns; pass array.copy()"
            )
        return torch.from_numpy(value)

    def run(self, what: str, start: Callable[[Any], Any], tensors: Sequence[Any]) -> None:
        """Start something on contiguous tensors, wait for it, and bring the results back."""
        whole = [tensor.contiguous() for tensor in tensors]
        try:
            work = start(whole)
            if what not in UNTOLD:
                self._await(work)
            work.wait()
        except RuntimeError as error:
            raise self._blame(what, error) from error
        for tensor, used in zip(tensors, whole, strict=True):
            if tensor is not used:
                tensor.copy_(used)

    def _await(self, work: Any) -> None:
        """Wait for the work, but not for ranks that are gone: a chain of ranks would time out."""
        pause, look = 1e-5, time.monotonic() + LOOK_S
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, 0.002)
            if time.monotonic() > look:
                look += LOOK_S
                if self._gone():
                    raise RuntimeError("it does not answer")

    def _blame(self, what: str, error: RuntimeError) -> RayError:
        # Those that die take a moment to be gone, and their neighbours fail first.
        deadline = time.monotonic() + 1
        while not (gone := self._gone()) and time.monotonic() < deadline:
            time.sleep(0.02)
        who = f"rank {', '.join(map(str, gone))} died" if gone else "another rank failed or is late"
        return RayError(
            f"{what}() of rank {self.rank} in collective group {self.name!r}: {who} ({error}). "
            "The group cannot be used any more: destroy it and make a new one"
        )

    def _gone(self) -> list[int]:
        return [rank for rank, pid in sorted(self._pids.items()) if not _lives(pid)]

    def reduce_op(self, op: ReduceOp) -> Any:
        """The op as torch calls it.

        Raises:
            TypeError: For what is no ReduceOp.
        """
        if not isinstance(op, ReduceOp):
            raise TypeError(f"op must be a ReduceOp, got {op!r}")
        return getattr(self._torch.distributed.ReduceOp, op.name)

    @property
    def gloo(self) -> Any:
        """The process group of torch's."""
        return self._gloo

    @property
    def dist(self) -> Any:
        """torch.distributed."""
        return self._torch.distributed


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
