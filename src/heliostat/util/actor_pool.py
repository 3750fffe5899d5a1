"""ActorPool: hand values to whichever of some actors is idle. Knows nothing of what they do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.exceptions import ActorDiedError

__all__ = ["ActorPool"]

Call = Callable[[Any, Any], Any]  # (actor, value) -> the reference of the call


class _Waiting(NamedTuple):
    call: Call
    value: Any


class ActorPool:
    """Actors that share the work of a list of values.

    Args:
        actors: Handles; each is given one value at a time.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Doubler:
        ...     def double(self, x): return 2 * x
        >>> pool = ray.util.ActorPool([Doubler.remote(), Doubler.remote()])
        >>> list(pool.map(lambda actor, x: actor.double.remote(x), [1, 2, 3]))
        [2, 4, 6]
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._refs: dict[int, Any] = {}  # number -> reference, for results not yet given out
        self._actors: dict[int, Any] = {}  # number -> the actor that has the call
        self._waiting: deque[_Waiting] = deque()
        self._submitted = 0  # numbers given to calls
        self._returned = 0  # the number whose result `get_next` gives

    def map(self, fn: Call, values: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of `values`; the calls begin now.

        Args:
            fn: Given an actor and a value, calls the actor and returns the reference.
            values: What to call with.
        """
        return self._over(fn, values, self.get_next)

    def map_unordered(self, fn: Call, values: Iterable[Any]) -> Iterator[Any]:
        """Results as they come; the calls begin now. Arguments as for `map`."""
        return self._over(fn, values, self.get_next_unordered)

    def _over(self, fn: Call, values: Iterable[Any], take: Callable[[], Any]) -> Iterator[Any]:
        self._skip_all()  # what an earlier iterator left is not mixed with these
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield take()

        return results()

    def _skip_all(self) -> None:
        self._waiting.clear()
        for number in list(self._refs):
            ray.wait([self._refs[number]])
            self._release(number)
        self._returned = self._submitted

    def submit(self, fn: Call, value: Any) -> None:
        """Call an idle actor, or wait for one to become idle (without blocking).

        Args:
            fn: As for `map`.
            value: What to call with.
        """
        if not self._idle:
            self._waiting.append(_Waiting(fn, value))
            return
        actor = self._idle.pop()
        self._refs[self._submitted] = fn(actor, value)
        self._actors[self._submitted] = actor
        self._submitted += 1

    def has_next(self) -> bool:
        """Whether there are results to take."""
        return bool(self._refs or self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission.

        Args:
            timeout: Seconds to wait; None for ever.
            ignore_if_timedout: After the time go past this result, so that the next call gives
                the one after it; TimeoutError is raised all the same.

        Raises:
            StopIteration: When there are no results left.
            TimeoutError: When the time is over first.
            ValueError: After results were taken out of order by `get_next_unordered`.
        """
        self._expect_more()
        number = self._returned
        if number not in self._refs:
            raise ValueError(
                "get_next() cannot follow get_next_unordered() while results are left: their order "
                "is lost"
            )
        ready, _ = ray.wait([self._refs[number]], timeout=timeout)
        if ready or ignore_if_timedout:
            self._returned += 1
        return self._take(number if ready else None, number, timeout, ignore_if_timedout)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Whichever result is there first; arguments and errors as for `get_next`."""
        self._expect_more()
        numbers = {ref: number for number, ref in self._refs.items()}
        ready, rest = ray.wait(list(numbers), timeout=timeout)
        number = numbers[(ready or rest)[0]]
        if ready or ignore_if_timedout:
            self._returned = max(self._returned, number + 1)
        return self._take(number if ready else None, number, timeout, ignore_if_timedout)

    def _expect_more(self) -> None:
        if not self.has_next():
            raise StopIteration("no results are left")
        if not self._refs:
            raise ValueError(
                f"{len(self._waiting)} values wait, but every actor of the pool has died or was "
                "taken out; push() another one"
            )

    def _take(self, ready: int | None, number: int, timeout: float | None, ignore: bool) -> Any:
        if ready is not None:
            ref = self._refs[number]
            try:
                return ray.get(ref)
            except ActorDiedError:
                self._actors.pop(number)  # it does not come back
                raise
            finally:
                self._release(number)
        if ignore:
            self._release(number)
        raise TimeoutError(f"no result after {timeout} s" + (", it is skipped" if ignore else ""))

    def _release(self, number: int) -> None:
        """Its result is not needed any more: its actor takes the next value."""
        del self._refs[number]
        if number in self._actors:
            self._idle.append(self._actors.pop(number))
        self._feed()

    def _feed(self) -> None:
        while self._waiting and self._idle:
            self.submit(*self._waiting.popleft())

    def has_free(self) -> bool:
        """Whether an actor is idle and nothing waits for it."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any | None:
        """Take an idle actor out of the pool; None if there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Put one more actor into the pool.

        Raises:
            ValueError: If it is in the pool already.
        """
        if actor in self._idle or actor in self._actors.values():
            raise ValueError(f"{actor!r} is in the pool already")
        self._idle.append(actor)
        self._feed()
