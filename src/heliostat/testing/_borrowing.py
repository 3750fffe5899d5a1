"""The suite's tests of who keeps an object or actor alive, across processes."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

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

    def look(self) -> int:
        """The first of the kept."""
        return len(ray.get(self.refs[0]))

    def wait(self, gate: Gate) -> str:
        """Be busy."""
        gate.wait()
        return "through"


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
