"""Collective calls among actors, on gloo."""

import asyncio
import os
import sys
import time

import cloudpickle
import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import RayError
from heliostat.util import collective
from heliostat.util.collective._rendezvous import Rendezvous
from heliostat.util.collective.collective_group.base_collective_group import BaseGroup
from heliostat.util.collective.types import AllReduceOptions, RecvOptions, ReduceOp

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = pytest.mark.timeout(300)
torch = pytest.importorskip("torch")


class Board:
    """What ranks write on, and read from when all have written."""

    def __init__(self):
        self.sums, self.all_are_here = {}, asyncio.Condition()

    async def add(self, group, size, array):
        async with self.all_are_here:
            count, total = self.sums.get(group, (0, 0))
            self.sums[group] = count + 1, total + array
            self.all_are_here.notify_all()
            await self.all_are_here.wait_for(lambda: self.sums[group][0] == size)
            return self.sums[group][1]


class BoardGroup(BaseGroup):
    """A network of a user's own."""

    @classmethod
    def backend(cls):
        return "BOARD"

    @classmethod
    def check_backend_availability(cls):
        return True

    def allreduce(self, tensor, allreduce_options=None):
        assert allreduce_options.reduceOp is ReduceOp.SUM
        board = ray.get_actor("board")
        (array,) = tensor
        array[:] = ray.get(board.add.remote(self.group_name, self.world_size, array))

    barrier = reduce = allgather = broadcast = reducescatter = send = recv = allreduce


class Rank:
    def join(self, size, rank, group, **options):
        collective.init_collective_group(size, rank, backend="gloo", group_name=group, **options)
        return collective.get_rank(group), collective.get_collective_group_size(group)

    def reduce_all(self, group, value, op=ReduceOp.SUM):
        array = np.full(3, float(value))
        collective.allreduce(array, group, op)
        return array.tolist()

    def others(self, group, rank):
        """Every other call once; what this rank has afterwards."""
        two = [torch.zeros(2), torch.zeros(2)]
        collective.allgather(two, torch.full((2,), float(rank)), group)
        summed, sent, given = torch.full((2,), 1.0), np.zeros(2), torch.full((2,), float(rank))
        collective.reduce(summed, 1, group)
        scattered = np.zeros(2)
        collective.reducescatter(scattered, [np.ones(2), np.full(2, 2.0)], group)
        collective.broadcast(given, 1, group)
        if rank == 0:
            collective.send(np.full(2, 7.0), 1, group)
        else:
            collective.recv(sent, 0, group)
        collective.barrier(group)
        return [t.tolist() for t in (*two, scattered, given)], summed.tolist(), sent.tolist()

    def several(self, group, rank):
        """Every call with two tensors a rank: 1 and 2 here, 3 and 4 there."""
        found = {}

        def two():
            return [torch.full((2,), float(2 * rank + 1)), torch.full((2,), float(2 * rank + 2))]

        def note(name, tensors):
            found[name] = [tensor[0].item() for tensor in tensors]

        mine = two()
        collective.allreduce_multigpu(mine, group)
        note("allreduce", mine)
        mine = two()
        collective.reduce_multigpu(mine, 1, 1, group, ReduceOp.PRODUCT)
        note("reduce", mine)
        mine = two()
        collective.broadcast_multigpu(mine, 1, 1, group)
        note("broadcast", mine)
        gathered = [[torch.zeros(2) for _ in range(4)] for _ in range(2)]
        collective.allgather_multigpu(gathered, two(), group)
        note("allgather", [*gathered[0], *gathered[1]])
        kept = [torch.zeros(2), torch.zeros(2)]
        lists = [[torch.full((2,), float(n)) for n in range(4)] for _ in range(2)]
        collective.reducescatter_multigpu(kept, lists, group)
        note("reducescatter", kept)
        part = torch.zeros(2, 2)
        if rank == 0:
            collective.send_multigpu(torch.full((2, 2), 5.0), 1, 1, group, n_elements=3)
        else:
            collective.recv_multigpu(part, 0, 0, group, n_elements=3)
        found["recv"] = part.tolist()
        return found

    def impatient(self, group, call):
        """Calls something that the other rank does not call; how long that took."""
        handle, tensors, start = collective.get_group_handle(group), [torch.ones(2)], time.time()
        calls = {
            "allreduce": lambda: handle.allreduce(tensors, AllReduceOptions(timeout_ms=300)),
            "recv": lambda: handle.recv(tensors, RecvOptions(1, timeout_ms=300)),
        }
        with pytest.raises(RayError, match=f"{call}\\(\\) of rank 0"):
            calls[call]()
        return time.time() - start

    def own_network(self, size, rank):
        collective.register_collective_backend("board", BoardGroup)
        collective.init_collective_group(size, rank, "board", "on board")
        array = np.full(2, rank + 1.0)
        collective.allreduce(array, "on board")
        backend = collective.get_group_handle("on board").backend()
        collective.destroy_collective_group("on board")
        return array.tolist(), backend

    def declared_network(self, rank):
        collective.register_collective_backend("board", BoardGroup)
        array = np.full(2, rank + 1.0)
        collective.allreduce(array, "declared board")
        return array.tolist()

    def columns(self, group):
        matrix = torch.arange(6.0).reshape(2, 3)
        collective.allreduce(matrix.T, group)  # not contiguous
        return matrix.tolist()

    def die(self):
        os._exit(1)

    def leave(self, group):
        collective.destroy_collective_group(group)
        return collective.is_group_initialized(group)


@pytest.fixture(scope="module")
def pair(local):
    """Two actors for all tests: importing torch is what takes time. The last test ends one."""
    ranks = [ray.remote(num_cpus=0)(Rank).remote() for _ in range(2)]
    yield ranks
    for rank in ranks:
        ray.kill(rank)


def join(ranks, group):
    return ray.get([actor.join.remote(2, n, group) for n, actor in enumerate(ranks)], timeout=150)


def test_ranks_reduce_arrays_in_place(pair):
    assert join(pair, "a") == [(0, 2), (1, 2)]
    sums = [actor.reduce_all.remote("a", n + 1) for n, actor in enumerate(pair)]
    assert ray.get(sums, timeout=60) == [[3.0] * 3] * 2
    most = [actor.reduce_all.remote("a", n, ReduceOp.MAX) for n, actor in enumerate(pair)]
    assert ray.get(most, timeout=60) == [[1.0] * 3] * 2
    turned = ray.get([actor.columns.remote("a") for actor in pair], timeout=60)
    assert turned == [[[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]] * 2
    assert ray.get([actor.leave.remote("a") for actor in pair], timeout=60) == [False, False]


def test_every_other_call_does_what_it_says(pair):
    join(pair, "b")
    first, second = ray.get([a.others.remote("b", n) for n, a in enumerate(pair)], timeout=60)
    assert first[0] == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
    assert second[0] == [[0.0, 0.0], [1.0, 1.0], [4.0, 4.0], [1.0, 1.0]]
    assert second[1:] == ([2.0, 2.0], [7.0, 7.0])


def test_a_rank_may_have_several_tensors(pair):
    join(pair, "several")
    calls = [actor.several.remote("several", n) for n, actor in enumerate(pair)]
    first, second = ray.get(calls, timeout=60)
    assert first["allreduce"] == second["allreduce"] == [10, 10]
    assert (first["reduce"], second["reduce"]) == ([1, 2], [3, 24])
    assert first["broadcast"] == second["broadcast"] == [4, 4]
    assert first["allgather"] == second["allgather"] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert (first["reducescatter"], second["reducescatter"]) == ([0, 4], [8, 12])
    assert second["recv"] == [[5, 5], [5, 0]]


@pytest.mark.parametrize("call", ["allreduce", "recv"])
def test_a_call_with_a_time_of_its_own_waits_no_longer(pair, call):
    group = f"impatient {call}"
    join(pair, group)
    began = time.monotonic()
    assert 0.3 <= ray.get(pair[0].impatient.remote(group, call), timeout=60) < 20
    for actor in pair:
        ray.get(actor.leave.remote(group), timeout=60)
    assert time.monotonic() - began < 20  # who leaves does not wait for what it gave up


def test_a_network_of_ones_own_carries_tensors(pair):
    board = ray.remote(num_cpus=0)(Board).options(name="board").remote()
    calls = [actor.own_network.remote(2, rank) for rank, actor in enumerate(pair)]
    assert ray.get(calls, timeout=60) == [([3.0, 3.0], "BOARD")] * 2
    with pytest.raises(ValueError, match=r"got 'board'.*register_collective_backend"):
        collective.create_collective_group(pair, 2, [0, 1], "board", "declared board")
    collective.register_collective_backend("board", BoardGroup)
    assert collective.is_backend_available("board")
    collective.create_collective_group(pair, 2, [0, 1], "board", "declared board")
    calls = [actor.declared_network.remote(rank) for rank, actor in enumerate(pair)]
    assert ray.get(calls, timeout=60) == [[3.0, 3.0]] * 2
    collective.destroy_collective_group("declared board")
    ray.kill(board)


def test_what_is_no_backend_is_refused(local):
    with pytest.raises(TypeError, match="takes a subclass of BaseGroup"):
        collective.register_collective_backend("x", dict)
    with pytest.raises(ValueError, match="there is a backend 'NCCL' already"):
        collective.register_collective_backend("nccl", BoardGroup)

    class Away(BoardGroup):
        @classmethod
        def check_backend_availability(cls):
            return False

    with pytest.raises(ValueError, match="there is a backend 'BOARD' already, BoardGroup"):
        collective.register_collective_backend("board", Away)
    collective.register_collective_backend("away", Away)
    with pytest.raises(RuntimeError, match="backend 'away' is not to be had here: Away"):
        collective.init_collective_group(1, 0, "away", "nowhere")
    assert not collective.is_group_initialized("nowhere")


def test_the_driver_may_declare_a_group(pair):
    collective.create_collective_group(pair, 2, [1, 0], backend="gloo", group_name="declared")
    with pytest.raises(RuntimeError, match="there is a group 'declared' already"):
        collective.create_collective_group(pair, 2, [0, 1], backend="gloo", group_name="declared")
    sums = [actor.reduce_all.remote("declared", 1) for actor in pair]
    assert ray.get(sums, timeout=60) == [[2.0] * 3] * 2
    collective.destroy_collective_group("declared")


def test_ranks_that_do_not_come_are_named(pair):
    with pytest.raises(RayError, match=r"ranks that did not come: \[1\]"):
        ray.get(pair[0].join.remote(2, 0, "half", gloo_timeout=500), timeout=30)


def test_bad_input_is_refused_with_what_to_do(local):
    with pytest.raises(NotImplementedError, match="pass backend='gloo'"):
        collective.init_collective_group(1, 0)
    with pytest.raises(ValueError, match="rank must be from 0 to 1, got 2"):
        collective.init_collective_group(2, 2, backend="gloo")
    with pytest.raises(ValueError, match=r"backend must be 'gloo'.*, got 'mpi'"):
        collective.init_collective_group(2, 0, backend="mpi")
    with pytest.raises(RuntimeError, match="not in the collective group"):
        collective.allreduce(np.zeros(1))
    with pytest.raises(ValueError, match="make no group"):
        collective.create_collective_group([], 2, [0, 1], backend="gloo")
    assert [collective.get_rank(), collective.get_collective_group_size()] == [-1, -1]


def test_a_group_of_one_takes_what_gloo_takes(local):
    collective.init_collective_group(1, 0, backend="gloo", group_name="one")
    try:
        with pytest.raises(RuntimeError, match="already"):
            collective.init_collective_group(1, 0, backend="gloo", group_name="one")
        with pytest.raises(ValueError, match=r"read-only.*array\.copy\(\)"):
            collective.allreduce(ray.get(ray.put(np.zeros(100_000))), "one")
        with pytest.raises(TypeError, match="numpy arrays and torch tensors, got list"):
            collective.allreduce([1], "one")
        with pytest.raises(TypeError, match="must be a ReduceOp"):
            collective.allreduce(np.zeros(1), "one", "sum")
        with pytest.raises(ValueError, match="one tensor for each of the 1 ranks"):
            collective.allgather([], np.zeros(1), "one")
        with pytest.raises(ValueError, match="at least one tensor is needed"):
            collective.allreduce_multigpu([], "one")
        with pytest.raises(ValueError, match="dst_tensor must be from 0 to 0, got 1"):
            collective.reduce_multigpu([np.zeros(1)], 0, 1, "one")
    finally:
        collective.destroy_collective_group("one")


def test_a_group_of_one_in_the_driver_does_every_call(local):
    collective.init_collective_group(1, 0, backend="gloo", group_name="alone")
    try:
        assert collective.is_group_initialized("alone")
        assert collective.get_rank("alone") == 0
        assert collective.get_collective_group_size("alone") == 1
        matrix, gathered, scattered = np.arange(6.0).reshape(2, 3), [np.zeros(2)], np.zeros(2)
        collective.allreduce(matrix.T, "alone")
        collective.reduce(matrix, 0, "alone", ReduceOp.MAX)
        collective.broadcast(matrix, 0, "alone")
        collective.allgather(gathered, np.ones(2), "alone")
        collective.reducescatter(scattered, [np.full(2, 3.0)], "alone")
        collective.barrier("alone")
        assert matrix.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert (gathered[0].tolist(), scattered.tolist()) == ([1.0, 1.0], [3.0, 3.0])
        with pytest.raises(ValueError, match="rank"):
            collective.send(np.zeros(1), 1, "alone")
        with pytest.raises(ValueError, match="rank"):
            collective.broadcast(np.zeros(1), 1, "alone")
    finally:
        collective.destroy_collective_group("alone")
    assert not collective.is_group_initialized("alone")


def test_a_driver_that_waits_in_vain_is_told_for_whom(local):
    with pytest.raises(
        RayError, match=r"waited 300 ms for the others; ranks that did not come: \[1"
    ):
        collective.init_collective_group(3, 0, "gloo", "in vain", gloo_timeout=300)
    assert not collective.is_group_initialized("in vain")


def test_a_meeting_takes_each_rank_once_and_one_size():
    meeting = Rendezvous()
    meeting.declare({"actor": 1}, 2, 500, "gloo")
    assert meeting.declared("actor") == (1, 2, 500, "gloo")
    assert meeting.declared("stranger") is None
    path = meeting.join(0, 2, 11)
    assert os.path.exists(path)
    assert meeting.join(1, 2, 12) == path
    assert meeting.pids() == {0: 11, 1: 12}
    with pytest.raises(ValueError, match="rank 1 is taken by the process 12"):
        meeting.join(1, 2, 13)
    with pytest.raises(ValueError, match="world_size=3, but other ranks said 2"):
        meeting.join(2, 3, 13)
    os.close(meeting._file)


def test_a_rank_that_dies_is_named(pair):
    join(pair, "c")
    waits = pair[0].reduce_all.remote("c", 1)
    pair[1].die.remote()
    with pytest.raises(RayError, match=r"allreduce\(\) of rank 0 .*: rank 1 died"):
        ray.get(waits, timeout=20)
