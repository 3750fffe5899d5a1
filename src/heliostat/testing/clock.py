"""Time in tests: a clock that is moved by hand, and waiting with a deadline.

Deciders get their time as an argument, so their tests use `FakeClock`. What other processes do
cannot be moved by hand: tests of it poll with `until`. Knows nothing of engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class FakeClock:
    """A clock that stands still until it is moved.

    Args:
        now: The time to begin with, in seconds.

    Example:
        >>> clock = FakeClock()
        >>> clock.advance(2.5)
        2.5
        >>> clock()
        2.5
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time.

        Returns:
            Seconds, as far as the clock was moved.

        Example:
            >>> FakeClock(3.0)()
            3.0
        """
        return self.now

    def advance(self, seconds: float) -> float:
        """Move forward.

        Args:
            seconds: How far; not negative.

        Returns:
            The new time.

        Raises:
            ValueError: If `seconds` is negative: time does not run backwards.

        Example:
            >>> FakeClock(1.0).advance(1.0)
            2.0
        """
        if seconds < 0:
            raise ValueError(f"a clock only moves forward, got {seconds!r} seconds")
        self.now += seconds
        return self.now


def until(
    condition: Callable[[], T], what: str = "the condition holds", timeout_s: float = 10.0
) -> T:
    """Poll until `condition()` is true.

    Args:
        condition: Called again and again; cheap, and without side effects.
        what: What is waited for, for the message.
        timeout_s: When to give up.

    Returns:
        The first true value.

    Raises:
        AssertionError: If the time is over; names `what` and the last value.
        TypeError: If `what` is no text: a time is given by name.

    Example:
        >>> until(lambda: 3)
        3
    """
    if not isinstance(what, str):
        raise TypeError(
            f"what is waited for is said in words, got {what!r}: give timeout_s by name"
        )
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}; last seen: {value!r}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.02)
