"""One rank of a group on torch's gloo: what it does, and who is to blame when that fails."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

import heliostat as ray
from heliostat.exceptions import RayError
from heliostat.util.collective.collective_group.base_collective_group import BaseGroup
from heliostat.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    Backend,
    BarrierOptions,
    BroadcastOptions,
    RecvOptions,
    ReduceOp,
    ReduceOptions,
    ReduceScatterOptions,
    SendOptions,
)

__all__ = ["GlooGroup", "torch_or_refuse"]

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


class GlooGroup(BaseGroup):
    """This process as one rank of a group that gloo connects.

    Several tensors of one rank are reduced here first, and its results copied to all of them. Those
    on a GPU go through the CPU's memory.
    """

    def __init__(
        self, world_size: int, rank: int, group_name: str, timeout_ms: int, rendezvous: Any
    ) -> None:
        super().__init__(world_size, rank, group_name)
        self._rendezvous = rendezvous
        self._torch = torch_or_refuse()
        self._pids: dict[int, int] = {}
        path = ray.get(rendezvous.join.remote(rank, world_size, os.getpid()))
        self._gloo, self._timeout_ms = self._connect(path, timeout_ms), timeout_ms
        self._pids = ray.get(rendezvous.pids.remote())

    @classmethod
    def backend(cls) -> str:
        """The name of the backend."""
        return Backend.GLOO

    @classmethod
    def check_backend_availability(cls) -> bool:
        """Whether torch is there, whose gloo is used."""
        try:
            torch_or_refuse()
        except ImportError:
            return False
        return True

    def allreduce(self, tensor: list[Any], allreduce_options: AllReduceOptions) -> None:
        """Reduce over all ranks, in place on each."""
        options = self._dist.AllreduceOptions()
        options.reduceOp = self._reduce_op(allreduce_options.reduceOp)
        mine = self._tensors(tensor)
        whole = self._reduced(mine, allreduce_options.reduceOp)
        limit = allreduce_options.timeout_ms
        self._run("allreduce", lambda used: self._gloo.allreduce(used, options), [whole], limit)
        _give(mine, whole)

    def barrier(self, barrier_options: BarrierOptions = BarrierOptions()) -> None:  # noqa: B008 - frozen
        """Wait until all ranks are here."""
        self._run("barrier", lambda _: self._gloo.barrier(), [], barrier_options.timeout_ms)

    def reduce(self, tensor: list[Any], reduce_options: ReduceOptions) -> None:
        """Reduce over all ranks, in place on one."""
        options = self._dist.ReduceOptions()
        options.reduceOp = self._reduce_op(reduce_options.reduceOp)
        options.rootRank = reduce_options.root_rank
        mine = self._tensors(tensor)
        whole = self._reduced(mine, reduce_options.reduceOp)
        limit = reduce_options.timeout_ms
        self._run("reduce", lambda used: self._gloo.reduce(used, options), [whole], limit)
        if self.rank == reduce_options.root_rank:
            _give([mine[reduce_options.root_tensor]], whole)

    def broadcast(self, tensor: list[Any], broadcast_options: BroadcastOptions) -> None:
        """Give all ranks what one has."""
        options = self._dist.BroadcastOptions()
        options.rootRank = broadcast_options.root_rank
        options.rootTensor = 0
        mine = self._tensors(tensor)
        here = self.rank == broadcast_options.root_rank
        whole = mine[broadcast_options.root_tensor if here else 0]
        limit = broadcast_options.timeout_ms
        self._run("broadcast", lambda used: self._gloo.broadcast(used, options), [whole], limit)
        _give(mine, whole)

    def allgather(
        self, tensor_list: list[list[Any]], tensor: list[Any], allgather_options: AllGatherOptions
    ) -> None:
        """Collect the tensors of all ranks."""
        ins = self._tensors(tensor)
        first, *others = [self._tensors(outs) for outs in tensor_list]

        def start(used: Any) -> Any:
            return self._gloo.allgather([used[:-1]], [used[-1]])

        for number, one in enumerate(ins):
            together = [*first[number :: len(ins)], one]
            self._run("allgather", start, together, allgather_options.timeout_ms)
        for outs in others:
            for out, found in zip(outs, first, strict=True):
                out.copy_(found)

    def reducescatter(
        self,
        tensor: list[Any],
        tensor_list: list[list[Any]],
        reducescatter_options: ReduceScatterOptions,
    ) -> None:
        """Reduce lists over all ranks, and keep this rank's part."""
        op = reducescatter_options.reduceOp
        options = self._dist.ReduceScatterOptions()
        options.reduceOp = self._reduce_op(op)
        outs = self._tensors(tensor)
        lists = [self._tensors(ins) for ins in tensor_list]
        parts = [self._reduced(list(same), op) for same in zip(*lists, strict=True)]

        def start(used: Any) -> Any:
            return self._gloo.reduce_scatter([used[-1]], [used[:-1]], options)

        for number, out in enumerate(outs):
            together = [*parts[number :: len(outs)], out]
            self._run("reducescatter", start, together, reducescatter_options.timeout_ms)

    def send(self, tensor: list[Any], send_options: SendOptions) -> None:
        """Send a tensor to a rank."""
        part = self._part(tensor, send_options.n_elements)
        to = send_options.dst_rank
        limit = send_options.timeout_ms
        self._run("send", lambda used: self._gloo.send(used, to, 0), part, limit)

    def recv(self, tensor: list[Any], recv_options: RecvOptions) -> None:
        """Receive into a tensor what a rank sends."""
        part = self._part(tensor, recv_options.n_elements)
        of = recv_options.src_rank
        limit = recv_options.timeout_ms
        self._run("recv", lambda used: self._gloo.recv(used, of, 0), part, limit)

    def _part(self, tensors: list[Any], elements: int) -> list[Any]:
        (one,) = self._tensors(tensors)
        return [one.view(-1)[:elements] if elements else one]

    def _tensors(self, values: list[Any]) -> list[Any]:
        return [self._tensor(value) for value in values]

    def _reduced(self, tensors: list[Any], op: ReduceOp) -> Any:
        """The tensors of this rank as one; it alone is itself."""
        if len(tensors) == 1:
            return tensors[0]
        torch = self._torch
        ways = {
            ReduceOp.SUM: torch.add,
            ReduceOp.PRODUCT: torch.mul,
            ReduceOp.MIN: torch.minimum,
            ReduceOp.MAX: torch.maximum,
        }
        first, *others = (tensor.cpu() for tensor in tensors)
        return functools.reduce(ways[op], others, first.clone())

    def _connect(self, path: str, timeout_ms: int) -> Any:
        dist = self._torch.distributed
        options = dist.ProcessGroupGloo._Options()
        options._timeout = timedelta(milliseconds=timeout_ms)
        options._devices = [dist.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
        store = dist.PrefixStore(self.group_name, dist.FileStore(path, -1))
        store.set_timeout(timedelta(milliseconds=timeout_ms))
        try:
            return dist.ProcessGroupGloo(store, self.rank, self.world_size, options)
        except RuntimeError as error:
            came = ray.get(self._rendezvous.pids.remote())
            missing = sorted(set(range(self.world_size)) - set(came)) or "none"
            raise RayError(
                f"rank {self.rank} of collective group {self.group_name!r} waited {timeout_ms} ms for "
                f"the others; ranks that did not come: {missing}. Every rank has to call "
                "init_collective_group"
            ) from error

    def _tensor(self, value: Any) -> Any:
        """The value as a tensor of the same memory.

        Raises:
            TypeError: For what is no array and no tensor of a CPU or a GPU.
            ValueError: For a read-only array.
        """
        torch = self._torch
        if isinstance(value, torch.Tensor):
            if value.device.type not in ("cpu", "cuda"):
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

    def _run(
        self, what: str, start: Callable[[Any], Any], tensors: Sequence[Any], limit_ms: int
    ) -> None:
        """Start something on contiguous tensors of the CPU, wait for it, and bring the results back.

        The wait ends after `limit_ms`, or when the group's own time is over if that is negative.
        """
        whole = [tensor.cpu().contiguous() for tensor in tensors]
        # Gloo's own, too: who leaves the group waits for what it has begun.
        lasts_ms = self._timeout_ms if limit_ms < 0 else limit_ms
        self._gloo._set_default_timeout(timedelta(milliseconds=lasts_ms))
        try:
            work = start(whole)
            if what not in UNTOLD:
                self._await(work, limit_ms)
            if what not in UNTOLD or limit_ms < 0:
                work.wait()
            else:
                work.wait(timedelta(milliseconds=limit_ms))
        except RuntimeError as error:
            raise self._blame(what, error) from error
        for tensor, used in zip(tensors, whole, strict=True):
            if tensor is not used:
                tensor.copy_(used)

    def _await(self, work: Any, limit_ms: int) -> None:
        """Wait for the work, but not for ranks that are gone: a chain of ranks would time out."""
        pause, look = 1e-5, time.monotonic() + LOOK_S
        end = math.inf if limit_ms < 0 else time.monotonic() + limit_ms / 1000
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, 0.002)
            if time.monotonic() > end:
                raise RuntimeError(f"it took longer than {limit_ms} ms")
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
            f"{what}() of rank {self.rank} in collective group {self.group_name!r}: {who} ({error}). "
            "The group cannot be used any more: destroy it and make a new one"
        )

    def _gone(self) -> list[int]:
        return [rank for rank, pid in sorted(self._pids.items()) if not _lives(pid)]

    def _reduce_op(self, op: ReduceOp) -> Any:
        """The op as torch calls it.

        Raises:
            TypeError: For what is no ReduceOp.
        """
        if not isinstance(op, ReduceOp):
            raise TypeError(f"op must be a ReduceOp, got {op!r}")
        return getattr(self._torch.distributed.ReduceOp, op.name)

    @property
    def _dist(self) -> Any:
        return self._torch.distributed


def _give(tensors: list[Any], result: Any) -> None:
    """Put a result into these tensors, one of which may have it."""
    for tensor in tensors:
        if tensor is not result:
            tensor.copy_(result)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
