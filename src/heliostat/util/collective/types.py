"""The words of `heliostat.util.collective`: backends, ways to reduce, and what goes with a call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

__all__ = [
    "AllGatherOptions",
    "AllReduceOptions",
    "Backend",
    "BarrierOptions",
    "BroadcastOptions",
    "RecvOptions",
    "ReduceOp",
    "ReduceOptions",
    "ReduceScatterOptions",
    "SendOptions",
]


class ReduceOp(Enum):
    """How values of several ranks become one."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


class Backend:
    """The names of backends: gloo, and those that `register_collective_backend` was told of.

    Example:
        >>> Backend("gloo")
        'GLOO'
    """

    NCCL = "NCCL"
    GLOO = "GLOO"
    registered: ClassVar[set[str]] = set()

    def __new__(cls, name: str) -> str:  # type: ignore[misc]  # as in Ray, it gives a string
        """The name as constants have it.

        Raises:
            ValueError: For any other name.
        """
        upper = str(name).upper()
        if upper in ("NCCL", "GLOO", *cls.registered):
            return upper
        if upper == "TORCH_GLOO":
            return cls.GLOO
        others = "".join(f" or {one!r}" for one in sorted(cls.registered))
        raise ValueError(
            f"backend must be 'gloo'{others}, got {name!r}; one of your own is made known by "
            "register_collective_backend() in every process that uses it"
        )


# A time of -1 is that of the group.


@dataclass(frozen=True)
class AllReduceOptions:
    """Of `allreduce`."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: int = -1


@dataclass(frozen=True)
class BarrierOptions:
    """Of `barrier`."""

    timeout_ms: int = -1


@dataclass(frozen=True)
class ReduceOptions:
    """Of `reduce`: which tensor of which rank is to have the result."""

    reduceOp: ReduceOp = ReduceOp.SUM
    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: int = -1


@dataclass(frozen=True)
class AllGatherOptions:
    """Of `allgather`."""

    timeout_ms: int = -1


@dataclass(frozen=True)
class BroadcastOptions:
    """Of `broadcast`: which tensor of which rank all are to have."""

    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: int = -1


@dataclass(frozen=True)
class ReduceScatterOptions:
    """Of `reducescatter`."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: int = -1


@dataclass(frozen=True)
class SendOptions:
    """Of `send`: the first `n_elements`, or all if that is 0."""

    dst_rank: int = 0
    dst_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: int = -1


@dataclass(frozen=True)
class RecvOptions:
    """Of `recv`: the first `n_elements`, or all if that is 0."""

    src_rank: int = 0
    src_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: int = -1
