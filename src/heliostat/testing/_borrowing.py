"""The suite's tests of who keeps an object or actor alive, across processes."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import GetTimeoutError
from heliostat.testing._session import Gate, SharedSession
from heliostat.testing.clock import until
from heliostat.util import state


@ray.remote
def box(size: int) -> list[Any]:
    """A value that contains a reference to a large one."""
    return [ray.put(np.zeros(size, "u1"))]


@ray.remote
def late(gate: Gate, size: int) -> Any:
    """A large value, in a while."""
    gate.wait()
    return np.zeros(size, "u1")


@ray.remote
class Borrower:
    """Has references for a while."""

    def wait_only(self) -> int:
        """Wait for a value and never look at it."""
        ready, _ = ray.wait([box.remote(300_000)], timeout=20)
        return len(ready)

    def give_up(self, gate: Gate) -> None:
        """Stop waiting before the value is there."""
        ref = late.remote(gate, 300_000)
        with pytest.raises(GetTimeoutError):
            ray.get(ref, timeout=0.05)

    def keep(self, refs: list[Any]) -> None:
        """Hold on to references."""
        self.refs = refs

    def knot(self) -> None:
        """Tie what is kept, and this actor, into circles that only a collection frees."""
        tied(self.refs).append(self)
        self.refs = []

    def know_itself(self) -> Any:
        """Keep a handle to itself, and give another one away."""
        self.me = ray.get_runtime_context().current_actor
        return self.me

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def collect(self) -> None:
        """Have Python look for circles."""
        gc.collect()

    def look(self) -> int:
        """The first of the kept."""
        return len(ray.get(self.refs[0]))

    def wait(self, gate: Gate) -> str:
        """Be busy."""
        gate.wait()
        return "through"


class Node:
    """Something that others refer to, and that refers to them."""

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs
        self.others: list[Any] = []


def tied(refs: list[Any]) -> list[Any]:
    """Something in a circle that only a collection frees."""
    node = Node(refs)
    node.others = [node, lambda: node]
    return node.others


def ended(pid: int) -> bool:
    """Whether a process is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def large() -> list[Any]:
    """The large objects that are kept."""
    return [row for row in state.list_objects() if row["object_size"] > 200_000]


class BorrowTests(SharedSession):
    """What workers hold, and for how long."""

    def test_what_a_worker_waited_for_and_never_looked_at_is_let_go(self) -> None:
        borrower = Borrower.remote()
        assert ray.get(borrower.wait_only.remote(), timeout=30) == 1
        until(lambda: not large(), "nothing large is kept")

    def test_what_comes_after_a_worker_gave_up_is_let_go(self, tmp_path: Path) -> None:
        gate, borrower = Gate(tmp_path), Borrower.remote()
        ray.get(borrower.give_up.remote(gate), timeout=30)
        gate.open()
        until(lambda: not large(), "nothing large is kept")
        assert ray.get(borrower.wait_only.remote(), timeout=30) == 1

    def test_a_borrowed_object_lives_as_long_as_its_borrower(self) -> None:
        borrower, ref = Borrower.remote(), ray.put(bytes(300_000))
        ray.get(borrower.keep.remote([ref]), timeout=30)
        del ref
        assert ray.get(borrower.look.remote(), timeout=30) == 300_000
        ray.kill(borrower)
        until(lambda: not large(), "nothing large is kept")

    def test_a_reference_in_a_circle_of_the_driver_is_let_go_by_a_collection(self) -> None:
        tied([ray.put(bytes(300_000))])
        assert len(large()) == 1
        gc.collect()
        until(lambda: not large(), "nothing large is kept")

    def test_a_reference_in_a_circle_of_an_actor_is_let_go_by_a_collection(self) -> None:
        borrower, ref = Borrower.remote(), ray.put(bytes(300_000))
        ray.get(borrower.keep.remote([ref]), timeout=30)
        ray.get(borrower.knot.remote(), timeout=30)
        del ref
        ray.get(borrower.collect.remote(), timeout=30)
        until(lambda: not large(), "nothing large is kept")

    def test_an_actor_that_knows_itself_ends_when_nobody_else_does(self) -> None:
        borrower = Borrower.remote()
        pid = ray.get(borrower.pid.remote(), timeout=30)
        ray.get(borrower.know_itself.remote(), timeout=30)
        ray.get(borrower.keep.remote([borrower]), timeout=30)
        del borrower
        until(lambda: ended(pid), "the actor has ended")

    def test_an_actor_that_gives_its_last_handle_away_lives_on(self) -> None:
        handle = ray.get(Borrower.remote().know_itself.remote(), timeout=30)
        pid = ray.get(handle.pid.remote(), timeout=30)
        assert ray.get(handle.pid.remote(), timeout=30) == pid
        del handle
        until(lambda: ended(pid), "the actor has ended")

    def test_a_reference_in_a_closure_keeps_its_object(self) -> None:
        ref = ray.put(bytes(300_000))

        @ray.remote
        def look() -> int:
            return len(ray.get(ref))

        assert ray.get([look.remote() for _ in range(3)], timeout=30) == [300_000] * 3

    def test_an_actor_found_by_name_lives_on_when_its_first_handle_is_gone(
        self, tmp_path: Path
    ) -> None:
        gate = Gate(tmp_path)
        first = Borrower.options(name="found").remote()
        busy = first.wait.remote(gate)
        del first
        found = ray.get_actor("found")
        gate.open()
        assert ray.get(busy, timeout=30) == "through"
        assert ray.get(found.wait_only.remote(), timeout=30) == 1
        ray.kill(found)
