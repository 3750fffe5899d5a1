"""Collective calls among actors or tasks: allreduce, broadcast and their like, on torch's gloo.

Every rank calls `init_collective_group` first, or the driver `create_collective_group` with the
actors. Arrays and tensors are changed in place. Everything stays on this machine's loopback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import heliostat as ray
from heliostat.util.collective import types
from heliostat.util.collective._group import Group, torch_or_refuse
from heliostat.util.collective._rendezvous import find, meet
from heliostat.util.collective.types import Backend, ReduceOp

__all__ = [
    "allgather",
    "allgather_multigpu",
    "allreduce",
    "allreduce_multigpu",
    "barrier",
    "broadcast",
    "broadcast_multigpu",
    "create_collective_group",
    "destroy_collective_group",
    "get_collective_group_size",
    "get_group_handle",
    "get_rank",
    "gloo_available",
    "init_collective_group",
    "is_backend_available",
    "is_group_initialized",
    "nccl_available",
    "recv",
    "recv_multigpu",
    "reduce",
    "reduce_multigpu",
    "reducescatter",
    "reducescatter_multigpu",
    "send",
    "send_multigpu",
    "types",
]

_GROUPS: dict[str, Group] = {}  # of this process
_DECLARED: dict[str, Any] = {}  # rendezvous of groups that this process has declared


def gloo_available() -> bool:
    """Whether torch is there, whose gloo is used."""
    try:
        torch_or_refuse()
    except ImportError:
        return False
    return True


def nccl_available() -> bool:
    """False: collective calls run on CPUs here."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether groups can be made on this backend.

    Args:
        backend: Its name, such as "gloo".

    Example:
        >>> from heliostat.util import collective
        >>> collective.is_backend_available("nccl"), collective.is_backend_available("smoke")
        (False, False)
    """
    try:
        return Backend(backend) == Backend.GLOO and gloo_available()
    except ValueError:
        return False


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30000,
) -> None:
    """Become a rank of a group; waits for the other ranks.

    Args:
        world_size: How many ranks there are.
        rank: Which one this process is.
        backend: "gloo".
        group_name: A process can be in several groups.
        gloo_timeout: Milliseconds to wait for others, here and in every call.

    Raises:
        NotImplementedError: For the backend nccl, which is the default as in Ray.
        RuntimeError: If this process is in a group of that name already.
        ValueError: For a rank out of range or taken.
        ImportError: If there is no torch.
        RayError: If others did not come in time.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util import collective
        >>> collective.init_collective_group(1, 0, backend="gloo")  # doctest: +SKIP
    """
    _check_backend(backend)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, got {rank}")
    if group_name in _GROUPS:
        raise RuntimeError(
            f"this process is rank {_GROUPS[group_name].rank} of group {group_name!r} already; "
            "destroy_collective_group() first, or use another group_name"
        )
    torch_or_refuse()
    _GROUPS[group_name] = Group(group_name, rank, world_size, gloo_timeout, meet(group_name))


def create_collective_group(
    actors: Sequence[Any],
    world_size: int,
    ranks: Sequence[int],
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30000,
) -> None:
    """Say from the driver which actor is which rank; they join with their first collective call.

    Args:
        actors: The handles.
        world_size: How many ranks there are.
        ranks: The rank of each actor.
        backend, group_name, gloo_timeout: As for `init_collective_group`.

    Raises:
        NotImplementedError: For the backend nccl.
        RuntimeError: If the group exists.
        ValueError: If actors and ranks do not fit together.
    """
    _check_backend(backend)
    if len(actors) != len(ranks) or sorted(ranks) != list(range(world_size)):
        raise ValueError(
            f"{len(actors)} actors with ranks {list(ranks)} make no group of world_size="
            f"{world_size}; give each actor one of the ranks 0 to {world_size - 1}"
        )
    if find(group_name) is not None:
        raise RuntimeError(f"there is a group {group_name!r} already; use another group_name")
    rendezvous = _DECLARED[group_name] = meet(group_name)
    who = {actor._actor_id.hex(): rank for actor, rank in zip(actors, ranks, strict=True)}
    ray.get(rendezvous.declare.remote(who, world_size, gloo_timeout))


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group, or forget one that this process declared; nothing happens without one."""
    _GROUPS.pop(group_name, None)
    rendezvous = _DECLARED.pop(group_name, None)
    if rendezvous is not None:
        ray.kill(rendezvous)


def is_group_initialized(group_name: str) -> bool:
    """Whether this process is in the group."""
    return group_name in _GROUPS


def get_rank(group_name: str = "default") -> int:
    """The rank of this process, or -1 if it is in no such group."""
    return _GROUPS[group_name].rank if group_name in _GROUPS else -1


def get_collective_group_size(group_name: str = "default") -> int:
    """How many ranks the group has, or -1 if this process is not in it."""
    return _GROUPS[group_name].size if group_name in _GROUPS else -1


def get_group_handle(group_name: str = "default") -> Group:
    """What this process is in a group; it joins now, if the driver has declared that it is in it.

    Args:
        group_name: Which group.

    Returns:
        A handle with `group_name`, `rank` and `world_size`.

    Raises:
        RuntimeError: If this process is not in the group.
    """
    return _group(group_name)


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Reduce over all ranks, in place on each."""
    group = _group(group_name)
    options = group.dist.AllreduceOptions()
    options.reduceOp = group.reduce_op(op)
    tensors = [group.tensor(tensor)]
    group.run("allreduce", lambda whole: group.gloo.allreduce(whole, options), tensors)


def barrier(group_name: str = "default") -> None:
    """Wait until all ranks are here."""
    group = _group(group_name)
    group.run("barrier", lambda _: group.gloo.barrier(), [])


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Reduce over all ranks, in place on `dst_rank`."""
    group = _group(group_name)
    options = group.dist.ReduceOptions()
    options.reduceOp = group.reduce_op(op)
    options.rootRank = _rank(group, dst_rank)
    tensors = [group.tensor(tensor)]
    group.run("reduce", lambda whole: group.gloo.reduce(whole, options), tensors)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Give all ranks what `src_rank` has, in place."""
    group = _group(group_name)
    options = group.dist.BroadcastOptions()
    options.rootRank = _rank(group, src_rank)
    options.rootTensor = 0
    tensors = [group.tensor(tensor)]
    group.run("broadcast", lambda whole: group.gloo.broadcast(whole, options), tensors)


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Collect the tensors of all ranks in `tensor_list`, by rank.

    Raises:
        ValueError: If the list has not one tensor for each rank.
    """
    group = _group(group_name)
    outs = _one_each(group, tensor_list)

    def start(whole: Any) -> Any:
        return group.gloo.allgather([whole[:-1]], [whole[-1]])

    group.run("allgather", start, [*outs, group.tensor(tensor)])


def reducescatter(
    tensor: Any, tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Reduce `tensor_list` over all ranks, and keep in `tensor` the one of this rank.

    Raises:
        ValueError: If the list has not one tensor for each rank.
    """
    group = _group(group_name)
    ins = _one_each(group, tensor_list)
    options = group.dist.ReduceScatterOptions()
    options.reduceOp = group.reduce_op(op)

    def start(whole: Any) -> Any:
        return group.gloo.reduce_scatter([whole[-1]], [whole[:-1]], options)

    group.run("reducescatter", start, [*ins, group.tensor(tensor)])


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send a tensor to a rank, which calls `recv`."""
    group = _group(group_name)
    _other(group, dst_rank)
    tensors = [group.tensor(tensor)]
    group.run("send", lambda whole: group.gloo.send(whole, dst_rank, 0), tensors)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Receive into a tensor what a rank sends."""
    group = _group(group_name)
    _other(group, src_rank)
    tensors = [group.tensor(tensor)]
    group.run("recv", lambda whole: group.gloo.recv(whole, src_rank, 0), tensors)


def _check_backend(backend: str) -> None:
    if Backend(backend) != Backend.GLOO:
        raise NotImplementedError(
            f"backend={backend!r} is not offered: collective calls run on CPUs here; pass "
            "backend='gloo'"
        )


def _group(name: str) -> Group:
    """The group of this process; joined now, if the driver has declared it."""
    group = _GROUPS.get(name)
    if group is not None:
        return group
    actor = ray.get_runtime_context().get_actor_id()
    rendezvous = find(name) if actor else None
    place = ray.get(rendezvous.declared.remote(actor)) if rendezvous else None
    if place is None:
        raise RuntimeError(
            f"this process is not in the collective group {name!r}; call init_collective_group() "
            "in every rank, or create_collective_group() in the driver"
        )
    rank, size, timeout_ms = place
    group = _GROUPS[name] = Group(name, rank, size, timeout_ms, rendezvous)
    return group


def _rank(group: Group, rank: int) -> int:
    if not 0 <= rank < group.size:
        raise ValueError(f"rank must be from 0 to {group.size - 1}, got {rank}")
    return rank


def _other(group: Group, rank: int) -> None:
    if _rank(group, rank) == group.rank:
        raise RuntimeError(f"rank {rank} is this process itself")


def _one_each(group: Group, tensors: list[Any]) -> list[Any]:
    if not isinstance(tensors, list) or len(tensors) != group.size:
        raise ValueError(f"the list needs one tensor for each of the {group.size} ranks")
    return [group.tensor(tensor) for tensor in tensors]


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    """Not offered: there are no collective calls among GPUs.

    Raises:
        NotImplementedError: Always; the call of the same name without _multigpu is there.
    """
    raise NotImplementedError(
        "the _multigpu calls are not offered: collective calls run on CPUs here; use the call of "
        "the same name without _multigpu, one rank for each process"
    )


allgather_multigpu = allreduce_multigpu = broadcast_multigpu = recv_multigpu = _refuse
reduce_multigpu = reducescatter_multigpu = send_multigpu = _refuse
