"""Durations: how long functions take, and so how many calls a worker may be sent ahead. Pure."""

from __future__ import annotations

AHEAD_S = 0.005  # how much work, by past durations, a worker is sent ahead
AHEAD_MOST = 128
_NEWS = 0.2  # the weight of the latest duration


class Durations:
    """The smoothed duration of each function.

    Example:
        >>> durations = Durations()
        >>> durations.room(b"f", 0)
        False
        >>> durations.learn(b"f", 0.001)
        >>> durations.room(b"f", 4), durations.room(b"f", 5)
        (True, False)
    """

    def __init__(self) -> None:
        self._seconds: dict[bytes, float] = {}

    def learn(self, key: bytes, seconds: float) -> None:
        """A call of the function took that long."""
        known = self._seconds.get(key)
        self._seconds[key] = seconds if known is None else known + _NEWS * (seconds - known)

    def forget(self, key: bytes) -> None:
        """It is not as short as it was: learn anew."""
        self._seconds.pop(key, None)

    def room(self, key: bytes, ahead: int) -> bool:
        """Whether a worker with so many tasks may be sent one more of this function."""
        seconds = self._seconds.get(key)
        return seconds is not None and ahead < AHEAD_MOST and ahead * seconds < AHEAD_S
