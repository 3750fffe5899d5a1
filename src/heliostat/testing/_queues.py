"""The suite's tests of an actor's queues: concurrency groups, order, limits, cooperative cancelling."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import ActorDiedError, PendingCallsLimitExceeded, TaskCancelledError
from heliostat.testing._session import Gate, SharedSession, Tally
from heliostat.testing.clock import until


@ray.remote
def after(gate: Gate, value: Any) -> Any:
    """A value that comes when the gate opens."""
    gate.wait()
    return value


@ray.remote(concurrency_groups={"io": 2, "compute": 1})
class Grouped:
    """Counts how many calls overlap, group by group."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def _enter(self, group: str, by: int) -> None:
        with self.lock:
            self.now[group] = self.now.get(group, 0) + by
            self.most[group] = max(self.most.get(group, 0), self.now[group])

    @ray.method(concurrency_group="io")
    def read(self, gate: Gate) -> str:
        """Two at once."""
        self._enter("io", 1)
        gate.wait()
        self._enter("io", -1)
        return threading.current_thread().name

    @ray.method(concurrency_group="compute")
    def compute(self, gate: Gate) -> None:
        """One at a time."""
        self._enter("compute", 1)
        gate.wait()
        self._enter("compute", -1)

    def inside(self) -> dict[str, int]:
        """How many calls of each group run now; of no group itself."""
        return dict(self.now)

    def peak(self) -> dict[str, int]:
        """How many ran at most."""
        return dict(self.most)


@ray.remote(concurrency_groups={"io": 2})
class AsyncGrouped:
    """As above, on an event loop."""

    def __init__(self) -> None:
        self.now = 0

    @ray.method(concurrency_group="io")
    async def read(self, gate: Gate) -> None:
        """Two at once."""
        self.now += 1
        while not gate.is_open():  # noqa: ASYNC110 - other processes open it
            await asyncio.sleep(0.001)
        self.now -= 1

    async def inside(self) -> int:
        """How many run now."""
        return self.now


class QueueTests(SharedSession):
    """Which calls of an actor overlap, wait, are refused or stopped."""

    def test_a_concurrency_group_bounds_its_own_calls_only(self, tmp_path: Path) -> None:
        gate, actor = Gate(tmp_path), Grouped.remote()
        refs = [actor.read.remote(gate) for _ in range(4)]
        refs += [actor.compute.remote(gate) for _ in range(2)]
        full = {"io": 2, "compute": 1}
        until(lambda: ray.get(actor.inside.remote(), timeout=20) == full, "both groups are full")
        gate.open()
        names = ray.get(refs, timeout=20)
        assert ray.get(actor.peak.remote()) == full
        assert names[0].startswith("actor-io")

    def test_a_call_may_name_another_group(self, tmp_path: Path) -> None:
        gate, actor = Gate(tmp_path), Grouped.remote()
        blocked = actor.compute.remote(gate)
        until(lambda: ray.get(actor.inside.remote(), timeout=20) == {"compute": 1}, "it runs")
        inside = actor.inside.options(concurrency_group="io").remote()
        assert ray.get(inside, timeout=20) == {"compute": 1}
        gate.open()
        ray.get(blocked, timeout=20)

    def test_concurrency_groups_bound_an_async_actor_too(self, tmp_path: Path) -> None:
        gate, actor = Gate(tmp_path), AsyncGrouped.remote()
        refs = [actor.read.remote(gate) for _ in range(4)]
        until(lambda: ray.get(actor.inside.remote(), timeout=20) == 2, "the group is full")
        gate.open()
        ray.get(refs, timeout=20)

    def test_an_unknown_group_is_refused_with_the_known_ones(self) -> None:
        @ray.remote(concurrency_groups={"io": 1})
        class Wrong:
            @ray.method(concurrency_group="oi")
            def run(self) -> None: ...

        with pytest.raises(ValueError, match=r"Wrong\.run names concurrency group 'oi'.* are: io"):
            Wrong.remote()
        with pytest.raises(ValueError, match="'net', but the actor's groups are: io, compute"):
            Grouped.remote().inside.options(concurrency_group="net")
        with pytest.raises(ValueError, match=r"concurrency_groups\['io'\] must be >= 1"):
            Wrong.options(concurrency_groups={"io": 0})

    def test_calls_overtake_a_late_argument_where_the_order_is_free(self, tmp_path: Path) -> None:
        @ray.remote(allow_out_of_order_execution=True)
        class Free:
            def echo(self, value: int) -> int:
                return value

        gate, free = Gate(tmp_path), Free.remote()
        first = free.echo.remote(after.remote(gate, 1))
        assert ray.get(free.echo.remote(2), timeout=20) == 2
        gate.open()
        assert ray.get(first, timeout=20) == 1

    def test_a_call_with_a_late_argument_dies_with_its_actor(self, tmp_path: Path) -> None:
        @ray.remote(max_concurrency=2)
        class Free:
            def echo(self, value: int) -> int:
                return value

        gate, free = Gate(tmp_path), Free.remote()
        late = after.remote(gate, 1)
        ref = free.echo.remote(late)
        ray.get(free.echo.remote(0), timeout=20)
        ray.kill(free)
        with pytest.raises(ActorDiedError):
            ray.get(ref, timeout=20)
        gate.open()
        ray.get(late, timeout=20)

    def test_an_order_that_cannot_be_kept_is_refused(self) -> None:
        with pytest.raises(ValueError, match="AsyncGrouped overlap"):
            AsyncGrouped.options(allow_out_of_order_execution=False).remote()

    def test_more_than_max_pending_calls_are_refused(self, tmp_path: Path) -> None:
        @ray.remote(max_pending_calls=2)
        class Busy:
            def work(self, gate: Gate) -> str:
                gate.wait()
                return "done"

        @ray.remote
        def caller(busy: Any, gate: Gate) -> str:
            refs = [busy.work.remote(gate) for _ in range(2)]
            with pytest.raises(PendingCallsLimitExceeded):
                busy.work.remote(gate)
            gate.open()
            return str(ray.get(refs[1]))

        gate, busy = Gate(tmp_path), Busy.remote()
        refs = [busy.work.remote(gate) for _ in range(2)]
        with pytest.raises(PendingCallsLimitExceeded, match=r"work\(\) was not called: 2 calls"):
            busy.work.remote(gate)
        assert ray.get(caller.remote(busy, gate), timeout=20) == "done"
        assert ray.get(refs, timeout=20) == ["done", "done"]
        assert ray.get(busy.work.remote(gate), timeout=20) == "done"
        with pytest.raises(ValueError, match="max_pending_calls=0 would allow no call"):
            Busy.options(max_pending_calls=0)

    def test_a_threaded_call_sees_that_it_was_cancelled(self, tmp_path: Path) -> None:
        @ray.remote(max_concurrency=2)
        class Patient:
            def work(self, begun: Tally) -> str:
                begun.add()
                until(ray.get_runtime_context().is_canceled, "somebody cancels it")
                raise RuntimeError("stopped half way")

            def cancelled(self) -> bool:
                return ray.get_runtime_context().is_canceled()

        begun, patient = Tally(tmp_path), Patient.remote()
        ref = patient.work.remote(begun)
        until(lambda: begun.count() == 1, "the call runs")
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=20)
        assert ray.get(patient.cancelled.remote(), timeout=20) is False

    def test_named_actors_are_listed(self) -> None:
        one = Grouped.options(name="one").remote()
        two = Grouped.options(name="two", namespace="elsewhere").remote()
        assert ray.util.list_named_actors() == ["one"]
        assert {"namespace": "elsewhere", "name": "two"} in ray.util.list_named_actors(True)
        ray.kill(one)
        ray.kill(two)
        until(lambda: ray.util.list_named_actors(True) == [], "they have gone")
