"""BaseGroup: one rank of a group, whatever carries the tensors."""

from abc import ABC, abstractmethod
from typing import Any

from heliostat.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    BarrierOptions,
    BroadcastOptions,
    RecvOptions,
    ReduceOptions,
    ReduceScatterOptions,
    SendOptions,
)

__all__ = ["BaseGroup"]


class BaseGroup(ABC):
    """One rank of a group; subclass it, and `register_collective_backend` makes a backend of it.

    Every call takes lists of tensors, which have one item unless a `_multigpu` call made it.

    Args:
        world_size: How many ranks there are.
        rank: Which one this process is.
        group_name: What the group is called.

    Example:
        >>> from heliostat.util.collective import register_collective_backend
        >>> class Alone(BaseGroup):
        ...     @classmethod
        ...     def check_backend_availability(cls):
        ...         return True
        ...     def allreduce(self, tensor, allreduce_options=None): ...
        ...     barrier = reduce = allgather = broadcast = reducescatter = send = recv = allreduce
        >>> Alone(1, 0, "one").world_size
        1
    """

    def __init__(self, world_size: int, rank: int, group_name: str) -> None:
        self._world_size = world_size
        self._rank = rank
        self._group_name = group_name

    @property
    def rank(self) -> int:
        """Which rank this process is."""
        return self._rank

    @property
    def world_size(self) -> int:
        """How many ranks there are."""
        return self._world_size

    @property
    def group_name(self) -> str:
        """What the group is called."""
        return self._group_name

    def destroy_group(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what connects the ranks."""

    @classmethod
    def backend(cls) -> str:
        """The name of the backend."""
        raise NotImplementedError(f"{cls.__name__} has not said what its backend is called")

    @classmethod
    @abstractmethod
    def check_backend_availability(cls) -> bool:
        """Whether groups can be made here."""

    @abstractmethod
    def allreduce(self, tensor: list[Any], allreduce_options: AllReduceOptions) -> None:
        """Reduce over all ranks, in place on each."""

    @abstractmethod
    def barrier(self, barrier_options: BarrierOptions = BarrierOptions()) -> None:  # noqa: B008 - frozen
        """Wait until all ranks are here."""

    @abstractmethod
    def reduce(self, tensor: list[Any], reduce_options: ReduceOptions) -> None:
        """Reduce over all ranks, in place on one."""

    @abstractmethod
    def allgather(
        self,
        tensor_list: list[list[Any]],
        tensor: list[Any],
        allgather_options: AllGatherOptions,
    ) -> None:
        """Collect the tensors of all ranks."""

    @abstractmethod
    def broadcast(self, tensor: list[Any], broadcast_options: BroadcastOptions) -> None:
        """Give all ranks what one has."""

    @abstractmethod
    def reducescatter(
        self,
        tensor: list[Any],
        tensor_list: list[list[Any]],
        reducescatter_options: ReduceScatterOptions,
    ) -> None:
        """Reduce lists over all ranks, and keep this rank's part."""

    @abstractmethod
    def send(self, tensor: list[Any], send_options: SendOptions) -> None:
        """Send a tensor to a rank."""

    @abstractmethod
    def recv(self, tensor: list[Any], recv_options: RecvOptions) -> None:
        """Receive into a tensor what a rank sends."""
