"""Numbers that a program counts: collected in each process, added up in the session. Pure.

Recording touches only this process. What has changed is handed over with the end of each task, and
now and then while one runs, as plain tuples.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]
Tags = tuple[tuple[str, str], ...]

# What has changed of a series: (kind, name, description, boundaries, tags, values). The values of a
# counter are (increase,), of a gauge (value,), of a histogram the increases of each bucket, of the
# number of observations above the last boundary, and of the sum.
Change = tuple[str, str, str, tuple[float, ...], Tags, tuple[float, ...]]


class Series:
    """One series of numbers of this process; the session adds up those of all.

    Args:
        kind: "counter", "gauge" or "histogram".
        name: Of the metric.
        description: Of the metric.
        boundaries: Of a histogram's buckets.
        tags: Names and values, sorted.

    Example:
        >>> from heliostat.runtime_context import Series, records
        >>> Series("counter", "sheep_seen", "", (), ()).add(2.0)
        >>> [row["values"] for row in records("metrics") if row["name"] == "sheep_seen"]
        [(2.0,)]
    """

    __slots__ = ("_about", "_values", "touched")

    def __init__(
        self, kind: Kind, name: str, description: str, boundaries: tuple[float, ...], tags: Tags
    ) -> None:
        self._about = (kind, name, description, boundaries, tags)
        self._values = self._zero()
        self.touched = False

    def _zero(self) -> list[float]:
        return [0.0] * (len(self._about[3]) + 2 if self._about[0] == "histogram" else 1)

    def add(self, amount: float) -> None:
        """Increase a counter."""
        with _LOCK:
            self._values[0] += amount
            if not self.touched:
                PENDING.touch(self)

    def set(self, value: float) -> None:
        """Set a gauge."""
        with _LOCK:
            self._values[0] = value
            if not self.touched:
                PENDING.touch(self)

    def observe(self, bucket: int, value: float) -> None:
        """Add an observation to a histogram's bucket, counted from the lowest."""
        with _LOCK:
            self._values[bucket] += 1
            self._values[-1] += value
            if not self.touched:
                PENDING.touch(self)

    def merge(self, values: Iterable[float]) -> None:
        """Add many at a time: what `values` of a Change are, one by one."""
        with _LOCK:
            for index, value in enumerate(values):
                self._values[index] += value
            if not self.touched:
                PENDING.touch(self)

    def take(self) -> Change:
        """What has changed since the last time; the caller holds the lock."""
        values, self.touched = tuple(self._values), False
        self._values = self._zero()
        return (*self._about, values)


class Pending:
    """What this process has recorded and not handed over."""

    def __init__(self) -> None:
        self.touched: list[Series] = []
        self.on_first: Callable[[], None] | None = None  # called when there is something again

    def touch(self, series: Series) -> None:
        """This one has changed; the caller holds the lock."""
        series.touched = True
        self.touched.append(series)
        if len(self.touched) == 1 and self.on_first is not None:
            self.on_first()

    def take(self) -> tuple[Change, ...]:
        """All changes, to be handed over."""
        with _LOCK:
            touched, self.touched = self.touched, []
            return tuple(series.take() for series in touched)


# A finaliser of the user's may record while its own thread does.
_LOCK = threading.RLock()
PENDING = Pending()


class Totals:
    """The sums of a session. Counters and histograms are kept when a process ends; gauges go."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Any, ...], list[float]] = {}
        self.gauges: dict[tuple[int, tuple[Any, ...]], float] = {}

    def add(self, proc: int, changes: Iterable[Change]) -> None:
        """Take over what a process has recorded."""
        for *about, values in changes:
            key = tuple(about)
            if key[0] == "gauge":
                self.gauges[proc, key] = values[0]
                continue
            sums = self._sums.setdefault(key, [0.0] * len(values))
            for index, value in enumerate(values):
                sums[index] += value

    def forget(self, proc: int) -> None:
        """A process has ended."""
        for entry in [entry for entry in self.gauges if entry[0] == proc]:
            del self.gauges[entry]

    def clear(self) -> None:
        """Begin anew."""
        self._sums.clear()
        self.gauges.clear()

    def rows(self) -> list[dict[str, Any]]:
        """A row for each series; those of gauges are told apart by their process."""
        rows = [_row(key, tuple(sums), None) for key, sums in self._sums.items()]
        rows += [_row(key, (value,), proc) for (proc, key), value in self.gauges.items()]
        return rows


def _row(key: tuple[Any, ...], values: tuple[float, ...], proc: int | None) -> dict[str, Any]:
    kind, name, description, boundaries, tags = key
    return {
        "kind": kind,
        "name": name,
        "description": description,
        "boundaries": boundaries,
        "tags": dict(tags),
        "values": values,
        "worker_id": None if proc is None else f"{proc:032x}",
    }
