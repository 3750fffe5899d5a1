"""Progress bars of tasks and actors, shown by the driver; Ray's `ray.experimental.tqdm_ray`.

A bar in a worker writes its state as a line of output now and then; the driver, which reads these
lines anyway, shows all bars together: live in a terminal, as plain lines elsewhere.
"""

from __future__ import annotations

import itertools
import json
import operator
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from heliostat.util import progress

__all__ = ["safe_print", "tqdm"]

T = TypeVar("T")

_MARK = "::heliostat-bar::"  # the printer of the driver knows it, too
_EVERY_S = 0.1
_keys = itertools.count()
_shown: dict[tuple[int, int], progress.Line] = {}


def safe_print(*args: Any, **kwargs: Any) -> None:
    """Print without disturbing bars; takes what `print` takes.

    Example:
        >>> from heliostat.experimental import tqdm_ray
        >>> tqdm_ray.safe_print("above the bars")
        above the bars
    """
    print(*args, **kwargs)  # noqa: T201 - it is what it is for


class tqdm(Generic[T]):
    """A progress bar that works in tasks and actors as in the driver.

    Args:
        iterable: What to go through; it counts by itself then.
        desc: What the work is.
        total: How much there is; the length of the iterable when left out.
        unit: What is counted.
        position: Accepted for Ray's sake: bars find their own place.
        flush_interval_s: How often a worker tells where it stands; 0.1 s when left out.

    Example:
        >>> from heliostat.experimental.tqdm_ray import tqdm
        >>> sum(tqdm([1, 2, 3], desc="add"))
        6
    """

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
    ) -> None:
        del position
        if total is None and iterable is not None:
            hint = operator.length_hint(iterable, -1)
            total = None if hint < 0 else hint
        self._iterable = iterable
        self._key = (os.getpid(), next(_keys))
        self._desc, self._unit = desc or "", unit or "it"
        self._total, self._n = total, 0
        self._every_s = _EVERY_S if flush_interval_s is None else flush_interval_s
        self._closed = False
        self._told = 0.0
        self._tell(now=True)

    def set_description(self, desc: str) -> None:
        """Say what the work is now."""
        self._desc = desc
        self._tell()

    def update(self, n: int = 1) -> None:
        """So much more is done."""
        self._n += n
        self._tell()

    def refresh(self) -> None:
        """Show at once where it stands."""
        self._tell(now=True)

    def close(self) -> None:
        """The work has ended."""
        if not self._closed:
            self._closed = True
            self._tell(now=True)

    @property
    def n(self) -> int:
        """How much is done."""
        return self._n

    @n.setter
    def n(self, n: int) -> None:
        self._n = n

    @property
    def total(self) -> int | None:
        """How much there is, if known."""
        return self._total

    @total.setter
    def total(self, total: int | None) -> None:
        self._total = total

    def __iter__(self) -> Iterator[T]:
        if self._iterable is None:
            self.close()  # or it would be shown for the rest of the program
            raise ValueError("this bar has nothing to iterate over; pass an iterable to tqdm()")
        try:
            for item in self._iterable:
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> tqdm[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self, *, now: bool = False) -> None:
        instant = time.monotonic()
        if not now and instant - self._told < self._every_s:
            return
        self._told = instant
        state = (*self._key, self._desc, self._unit, self._total, self._n, self._closed)
        if os.environ.get("HELIOSTAT_WORKER") == "1" and sys.stdout is not None:
            sys.stdout.write(f"{_MARK}{json.dumps(state)}\n")
            sys.stdout.flush()
        else:
            _show(state)


def show(line: bytes) -> None:
    """A worker tells where its bar stands.

    Args:
        line: What follows the mark.

    Raises:
        ValueError: If it is nothing of the kind.
    """
    state = json.loads(line)
    if not isinstance(state, list) or len(state) != 7:
        raise ValueError("not the state of a bar")
    _show(tuple(state))


def gone(pid: int | None) -> None:
    """A worker has ended, and its bars with it."""
    for key in [key for key in _shown if key[0] == pid]:
        _shown.pop(key).__exit__(KeyboardInterrupt, None, None)


def _show(state: tuple[Any, ...]) -> None:
    pid, number, desc, unit, total, done, closed = state
    key = (pid, number)
    line = _shown.get(key)
    if line is None:
        line = _shown[key] = progress.line(desc or "progress", unit, total)
        line.__enter__()
    line.update(done, total, "")
    if closed:
        _shown.pop(key).__exit__(None, None, None)
