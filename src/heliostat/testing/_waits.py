"""The suite's tests of waits that cannot end, and of those that only seem so."""

# These tests use actors, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import DeadlockError
from heliostat.testing._session import SharedSession, with_session

LONGER_S = 1.3  # than a wait may be before it is looked at


@ray.remote
class Player:
    """Calls the other one, which calls back."""

    def meet(self, other: Any) -> None:
        """Who to call."""
        self.other = other

    def hit(self, times: int) -> str:
        """Hit the ball to the other, and wait until it is down."""
        return "down" if times == 0 else str(ray.get(self.other.hit.remote(times - 1)))

    def alone(self) -> str:
        """Wait for a call of oneself."""
        return str(ray.get(ray.get_runtime_context().current_actor.hit.remote(0)))


@ray.remote
class Loop:
    """An asyncio actor."""

    async def echo(self, value: int) -> int:
        """The value."""
        return value

    async def blocks(self) -> int:
        """Block the event loop until it has run another call."""
        return int(ray.get(ray.get_runtime_context().current_actor.echo.remote(1)))

    async def waits(self) -> int:
        """Do it well."""
        return int(await ray.get_runtime_context().current_actor.echo.remote(1))


@ray.remote
def slow(value: int) -> int:
    """A value that comes late."""
    time.sleep(LONGER_S)
    return value


class WaitTests(SharedSession):
    """Who waits in a circle is told; who only waits long is left alone."""

    def test_actors_that_wait_for_each_other_are_told(self) -> None:
        one, two = Player.remote(), Player.remote()
        ray.get([one.meet.remote(two), two.meet.remote(one)], timeout=20)
        with pytest.raises(DeadlockError, match=r"Player\.hit waits for the result of Player\.hit"):
            ray.get(one.hit.remote(2), timeout=20)
        assert ray.get([one.hit.remote(0), two.hit.remote(1)], timeout=20) == ["down", "down"]

    def test_an_actor_that_waits_for_itself_is_told(self) -> None:
        player = Player.remote()
        with pytest.raises(DeadlockError, match=r"in the same process after Player\.alone"):
            ray.get(player.alone.remote(), timeout=20)
        assert ray.get(player.hit.remote(0), timeout=20) == "down"

    def test_an_event_loop_that_waits_for_its_own_call_is_told(self) -> None:
        loop = Loop.remote()
        with pytest.raises(DeadlockError, match=r"blocked by Loop\.blocks"):
            ray.get(loop.blocks.remote(), timeout=20)
        assert ray.get(loop.waits.remote(), timeout=20) == 1

    def test_tasks_that_wait_for_each_other_are_told(self) -> None:
        @ray.remote
        def first(box: Any) -> Any:
            while not ray.get(box.has.remote()):
                time.sleep(0.01)
            return ray.get(ray.get(box.take.remote()))

        @ray.remote
        class Box:
            def put(self, refs: Any) -> None:
                self.refs = refs

            def has(self) -> bool:
                return hasattr(self, "refs")

            def take(self) -> Any:
                return self.refs[0]

        @ray.remote
        def second(refs: list[Any]) -> Any:
            return ray.get(refs[0])

        box = Box.remote()
        one = first.remote(box)
        two = second.remote([one])
        ray.get(box.put.remote([two]))
        with pytest.raises(DeadlockError):
            ray.get([one, two], timeout=20)

    @with_session(num_cpus=1)
    def test_a_long_wait_for_work_that_goes_on_is_no_circle(self) -> None:
        @ray.remote
        def parent() -> int:
            return sum(ray.get([slow.remote(1), slow.remote(2)]))

        @ray.remote
        def argument(value: int) -> int:
            return value

        @ray.remote
        def grandparent() -> int:
            return int(ray.get(argument.remote(parent.remote())))

        assert ray.get(grandparent.remote(), timeout=30) == 3

    def test_a_wait_in_a_thread_is_no_circle(self) -> None:
        @ray.remote
        class Threads:
            def work(self) -> int:
                got: list[int] = []
                me = ray.get_runtime_context().current_actor
                thread = threading.Thread(target=lambda: got.append(ray.get(me.late.remote())))
                thread.start()
                time.sleep(LONGER_S)
                self.thread, self.got = thread, got
                return 1

            def late(self) -> int:
                return 2

            def join(self) -> list[int]:
                return self.got

        threads = Threads.remote()
        assert ray.get(threads.work.remote(), timeout=20) == 1
        assert ray.get(threads.late.remote(), timeout=20) == 2
        assert ray.get(threads.join.remote(), timeout=20) == [2]

    def test_a_threaded_actor_may_wait_for_itself(self) -> None:
        @ray.remote(max_concurrency=2)
        class Threaded:
            def outer(self) -> int:
                return int(ray.get(ray.get_runtime_context().current_actor.inner.remote()))

            def inner(self) -> int:
                time.sleep(LONGER_S)
                return 5

        assert ray.get(Threaded.remote().outer.remote(), timeout=20) == 5
