"""Streams: the items of a generator on their way, and how far it may run ahead of its taker. Pure.

Both ends count items and bytes. The worker stops when it is a window ahead of what it was told
was taken; the scheduler tells it (`Credit`) when it may be about to stop, and not for every item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._core.ids import nth
from heliostat._engines.local.messages import (
    OUT_OF_LINE,
    Credit,
    EndAwaited,
    Send,
    Taken,
    Value,
    Yielded,
)

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler
    from heliostat._engines.local.scheduling.tasks import Task

_ITEM_COST = 600  # what the tables hold for an item beside its bytes
_MOST_BYTES = 256 << 20
_NO_END = 1 << 62


def window(num_returns: int) -> int:
    """How many items that nobody took there may be; 0: as many as there is memory for."""
    return -1 - num_returns


def num_returns_of(items: int | None) -> int:
    """The number of results that says: a stream, with this window."""
    return -1 - (items or 0)


def most_bytes(capacity: int) -> int:
    """How many bytes of items that nobody took one stream may have."""
    return max(1 << 20, min(_MOST_BYTES, capacity // 16))


def cost(value: Value) -> int:
    """What an item costs in memory, in bytes."""
    kind, head, parts, _ = value
    if kind in OUT_OF_LINE:
        return int(sum(parts)) + _ITEM_COST
    return len(head) + sum(map(len, parts)) + _ITEM_COST


class Allowance:
    """The producer's side: what was sent, and what of it was said to be taken."""

    __slots__ = ("_bytes", "_items", "_most", "_window", "resume")

    def __init__(self, window: int, most: int) -> None:
        self._window = window
        self._most = most
        self._items = self._bytes = 0  # sent and not taken, as far as is known here
        self.resume: Callable[[], object] | None = None  # set while the producer waits

    def sent(self, value: Value) -> None:
        """Count an item."""
        self._items += 1
        self._bytes += cost(value)

    def credit(self, items: int, size: int) -> None:
        """So much more was taken."""
        self._items -= items
        self._bytes -= size

    def exhausted(self) -> bool:
        """Whether the next item has to wait."""
        return self._bytes >= self._most or 0 < self._window <= self._items


class Stream:
    """The scheduler's side: what arrived of one attempt, what is gone, what the producer knows."""

    __slots__ = ("_first", "_gone", "_most", "_sent", "_told", "_window", "yielded")

    def __init__(self, window: int, most: int) -> None:
        self._window = window
        self._most = most
        self.yielded = 0  # items that have arrived, of all attempts
        self.begin()

    def begin(self) -> None:
        """Another attempt: its producer knows nothing of what was taken."""
        self._first = self.yielded
        self._sent, self._gone, self._told = (0, 0), (0, 0), (0, 0)

    def arrived(self, size: int) -> None:
        """The producer sent an item."""
        self._sent = self._sent[0] + 1, self._sent[1] + size

    def taken(self, position: int, size: int) -> None:
        """An item went to a taker; those of earlier attempts do not count for this one."""
        if position >= self._first:
            self.gone(size)

    def gone(self, size: int) -> None:
        """An item that this attempt sent needs no room any more."""
        self._gone = self._gone[0] + 1, self._gone[1] + size

    def lift(self) -> bool:
        """Let it run on without a taker; False if its window was asked for."""
        if self._window:
            return False
        self._most = _NO_END
        return True

    def credit(self) -> tuple[int, int] | None:
        """What to tell the producer now: items and bytes, or None when it can wait."""
        items, size = self._gone[0] - self._told[0], self._gone[1] - self._told[1]
        ahead, ahead_bytes = self._sent[0] - self._told[0], self._sent[1] - self._told[1]
        stops = 0 < self._window <= ahead
        nearly_stops = ahead_bytes * 2 >= self._most and size * 4 >= self._most
        if not items or not (stops or nearly_stops):
            return None
        self._told = self._gone
        return items, size


class StreamScheduler:
    """The streams of a session; works on the tables of the Scheduler that it belongs to."""

    def __init__(self, scheduler: Scheduler, capacity: int) -> None:
        self.scheduler = scheduler
        self._most = most_bytes(capacity)

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {Yielded: self._yielded, Taken: self._taken, EndAwaited: self._end_awaited}

    def begin(self, task: Task) -> None:
        """A task that streams was submitted."""
        task.stream = Stream(window(task.num_returns), self._most)
        self.scheduler.owned.objects[task.id].items = set()

    def _yielded(self, event: Yielded) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        task = scheduler.tasks.get(event.task)
        if worker is None or task is None or task.worker is not worker or task.stream is None:
            scheduler.free_unused((event.value,))
            return
        worker.heard = scheduler.now
        stream, size = task.stream, cost(event.value)
        stream.arrived(size)
        if event.position < stream.yielded:  # a retry yields the same items again
            scheduler.free_unused((event.value,))
            stream.gone(size)
        else:
            stream.yielded = event.position + 1
            self.item(task, nth(task.id, stream.yielded), event.value)
        self._tell(task)

    def item(self, task: Task, id_: bytes, value: Value) -> None:
        """An item is there; the stream keeps it until it is taken or nobody can take it."""
        owned = self.scheduler.owned
        entry = owned.objects.get(task.id)
        if entry is not None and entry.items is not None and entry.count > 0:
            entry.items.add(id_)
            owned.hold((id_,))
        self.scheduler.resolve(id_, value)

    def _taken(self, event: Taken) -> None:
        scheduler = self.scheduler
        entry = scheduler.owned.objects.get(event.stream)
        if entry is None or not entry.items or event.item not in entry.items:
            return
        entry.items.remove(event.item)
        task = scheduler.tasks.get(event.stream)
        if task is not None and task.stream is not None:
            value = scheduler.owned.objects[event.item].value
            assert value is not None
            position = int.from_bytes(event.item[12:], "big") - 1
            task.stream.taken(position, cost(value))
            self._tell(task)
        scheduler.owned.release((event.item,))

    def _tell(self, task: Task) -> None:
        if task.worker is None or task.stream is None:
            return
        credit = task.stream.credit()
        if credit is not None:
            self.scheduler.out.append(Send(task.worker.proc, Credit(task.id, *credit)))

    def _end_awaited(self, event: EndAwaited) -> None:
        task = self.scheduler.tasks.get(event.stream)
        if task is not None and task.stream is not None and task.stream.lift():
            self.lifted(task)

    def lifted(self, task: Task) -> None:
        """Tell the producer, who may wait, that it need not."""
        if task.worker is not None:
            self.scheduler.out.append(Send(task.worker.proc, Credit(task.id, _NO_END, _NO_END)))
