"""Collective calls among actors or tasks: allreduce, broadcast and their like, on torch's gloo.

Every rank calls `init_collective_group` first, or the driver `create_collective_group` with the
actors. Arrays and tensors are changed in place. Everything stays on this machine's loopback.

A rank may have several tensors, one on each of its GPUs: that is what the `_multigpu` calls are for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import heliostat as ray
from heliostat.util.collective import types
from heliostat.util.collective._group import GlooGroup, torch_or_refuse
from heliostat.util.collective._rendezvous import find, meet
from heliostat.util.collective.backend_registry import class_of, register_collective_backend
from heliostat.util.collective.collective_group.base_collective_group import BaseGroup
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
    "register_collective_backend",
    "send",
    "send_multigpu",
    "types",
]

_GROUPS: dict[str, BaseGroup] = {}  # of this process
_DECLARED: dict[str, Any] = {}  # rendezvous of groups that this process has declared


def gloo_available() -> bool:
    """Whether torch is there, whose gloo is used."""
    return GlooGroup.check_backend_availability()


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
        return class_of(backend).check_backend_availability()
    except (NotImplementedError, ValueError):
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
        backend: "gloo", or what `register_collective_backend` was told.
        group_name: A process can be in several groups.
        gloo_timeout: Milliseconds to wait for others, here and in every call.

    Raises:
        NotImplementedError: For the backend nccl, which is the default as in Ray.
        RuntimeError: If this process is in a group of that name already, or the backend is not to be
            had here.
        ValueError: For a rank out of range or taken.
        ImportError: If there is no torch.
        RayError: If others did not come in time.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util import collective
        >>> collective.init_collective_group(1, 0, backend="gloo")  # doctest: +SKIP
    """
    class_of(backend)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, got {rank}")
    if group_name in _GROUPS:
        raise RuntimeError(
            f"this process is rank {_GROUPS[group_name].rank} of group {group_name!r} already; "
            "destroy_collective_group() first, or use another group_name"
        )
    _join(backend, world_size, rank, group_name, gloo_timeout, None)


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
    class_of(backend)
    if len(actors) != len(ranks) or sorted(ranks) != list(range(world_size)):
        raise ValueError(
            f"{len(actors)} actors with ranks {list(ranks)} make no group of world_size="
            f"{world_size}; give each actor one of the ranks 0 to {world_size - 1}"
        )
    if find(group_name) is not None:
        raise RuntimeError(f"there is a group {group_name!r} already; use another group_name")
    rendezvous = _DECLARED[group_name] = meet(group_name)
    who = {actor._actor_id.hex(): rank for actor, rank in zip(actors, ranks, strict=True)}
    ray.get(rendezvous.declare.remote(who, world_size, gloo_timeout, backend))


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group, or forget one that this process declared; nothing happens without one."""
    group = _GROUPS.pop(group_name, None)
    if group is not None:
        group.destroy_group()
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
    return _GROUPS[group_name].world_size if group_name in _GROUPS else -1


def get_group_handle(group_name: str = "default") -> BaseGroup:
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
    allreduce_multigpu([tensor], group_name, op)


def allreduce_multigpu(
    tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Reduce all tensors of all ranks, in place on each."""
    group = _group(group_name)
    group.allreduce(_several(tensor_list), types.AllReduceOptions(op))


def barrier(group_name: str = "default") -> None:
    """Wait until all ranks are here."""
    _group(group_name).barrier()


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Reduce over all ranks, in place on `dst_rank`."""
    reduce_multigpu([tensor], dst_rank, 0, group_name, op)


def reduce_multigpu(
    tensor_list: list[Any],
    dst_rank: int = 0,
    dst_tensor: int = 0,
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Reduce all tensors of all ranks, in place on the tensor `dst_tensor` of `dst_rank`."""
    group = _group(group_name)
    place = _place(group, dst_rank, dst_tensor, tensor_list, "dst_tensor")
    group.reduce(_several(tensor_list), types.ReduceOptions(op, *place))


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Give all ranks what `src_rank` has, in place."""
    broadcast_multigpu([tensor], src_rank, 0, group_name)


def broadcast_multigpu(
    tensor_list: list[Any], src_rank: int = 0, src_tensor: int = 0, group_name: str = "default"
) -> None:
    """Give all tensors of all ranks what the tensor `src_tensor` of `src_rank` has, in place."""
    group = _group(group_name)
    place = _place(group, src_rank, src_tensor, tensor_list, "src_tensor")
    group.broadcast(_several(tensor_list), types.BroadcastOptions(*place))


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Collect the tensors of all ranks in `tensor_list`, by rank.

    Raises:
        ValueError: If the list has not one tensor for each rank.
    """
    allgather_multigpu([tensor_list], [tensor], group_name)


def allgather_multigpu(
    output_tensor_lists: list[list[Any]], input_tensor_list: list[Any], group_name: str = "default"
) -> None:
    """Collect all tensors of all ranks in each of the lists, by rank and then by their place.

    Raises:
        ValueError: If a list has not one tensor for each.
    """
    group = _group(group_name)
    ins = _several(input_tensor_list)
    for outs in _several(output_tensor_lists):
        _one_each(group, outs, len(ins))
    group.allgather(output_tensor_lists, ins, types.AllGatherOptions())


def reducescatter(
    tensor: Any, tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Reduce `tensor_list` over all ranks, and keep in `tensor` the one of this rank.

    Raises:
        ValueError: If the list has not one tensor for each rank.
    """
    reducescatter_multigpu([tensor], [tensor_list], group_name, op)


def reducescatter_multigpu(
    output_tensor_list: list[Any],
    input_tensor_lists: list[list[Any]],
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Reduce all lists of all ranks, and keep those that are this rank's, by their place.

    Raises:
        ValueError: If a list has not one tensor for each.
    """
    group = _group(group_name)
    outs = _several(output_tensor_list)
    for ins in _several(input_tensor_lists):
        _one_each(group, ins, len(outs))
    group.reducescatter(outs, input_tensor_lists, types.ReduceScatterOptions(op))


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send a tensor to a rank, which calls `recv`."""
    send_multigpu(tensor, dst_rank, 0, group_name)


def send_multigpu(
    tensor: Any,
    dst_rank: int,
    dst_gpu_index: int,
    group_name: str = "default",
    n_elements: int = 0,
) -> None:
    """Send a tensor, or its first `n_elements`, to a rank, which calls `recv_multigpu`.

    What one rank sends another comes in order, whichever of its GPUs `dst_gpu_index` names.
    """
    group = _group(group_name)
    _other(group, dst_rank)
    options = types.SendOptions(dst_rank, dst_gpu_index, _elements(tensor, n_elements))
    group.send([tensor], options)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Receive into a tensor what a rank sends."""
    recv_multigpu(tensor, src_rank, 0, group_name)


def recv_multigpu(
    tensor: Any,
    src_rank: int,
    src_gpu_index: int,
    group_name: str = "default",
    n_elements: int = 0,
) -> None:
    """Receive into a tensor, or its first `n_elements`, what a rank sends by `send_multigpu`."""
    group = _group(group_name)
    _other(group, src_rank)
    options = types.RecvOptions(src_rank, src_gpu_index, _elements(tensor, n_elements))
    group.recv([tensor], options)


def _join(
    backend: str, size: int, rank: int, name: str, timeout_ms: int, rendezvous: Any
) -> BaseGroup:
    """This process as a rank, from now on; the rendezvous is for gloo, made if there is none."""
    kind = class_of(backend)
    if kind is GlooGroup:
        torch_or_refuse()
        made: BaseGroup = GlooGroup(size, rank, name, timeout_ms, rendezvous or meet(name))
    elif kind.check_backend_availability():
        made = kind(size, rank, name)
    else:
        raise RuntimeError(
            f"backend {backend!r} is not to be had here: {kind.__name__}."
            "check_backend_availability() says so"
        )
    _GROUPS[name] = made
    return made


def _group(name: str) -> BaseGroup:
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
    rank, size, timeout_ms, backend = place
    return _join(backend, size, rank, name, timeout_ms, rendezvous)


def _rank(group: BaseGroup, rank: int) -> int:
    if not 0 <= rank < group.world_size:
        raise ValueError(f"rank must be from 0 to {group.world_size - 1}, got {rank}")
    return rank


def _other(group: BaseGroup, rank: int) -> None:
    if _rank(group, rank) == group.rank:
        raise RuntimeError(f"rank {rank} is this process itself")


def _place(
    group: BaseGroup, rank: int, tensor: int, tensors: list[Any], what: str
) -> tuple[int, int]:
    """A tensor of a rank; whether another rank has so many, it says itself."""
    if _rank(group, rank) == group.rank and not 0 <= tensor < len(_several(tensors)):
        raise ValueError(f"{what} must be from 0 to {len(tensors) - 1}, got {tensor}")
    return rank, tensor


def _several(tensors: list[Any]) -> list[Any]:
    if not isinstance(tensors, list) or not tensors:
        raise ValueError(f"a list of at least one tensor is needed, got {tensors!r:.80}")
    return tensors


def _one_each(group: BaseGroup, tensors: list[Any], of_each: int) -> None:
    if not isinstance(tensors, list) or len(tensors) != group.world_size * of_each:
        several = f", {of_each} of each" if of_each > 1 else ""
        raise ValueError(
            f"the list needs one tensor for each of the {group.world_size} ranks{several}"
        )


def _elements(tensor: Any, count: int) -> int:
    if count and not 0 <= count <= math.prod(tensor.shape):
        raise ValueError(
            f"n_elements must be from 0 (all) to {math.prod(tensor.shape)}, got {count}"
        )
    return count
