"""Holdings: what a worker process refers to, what it was lent, and the values that it knows.

What was lent goes back when nothing here refers to it. Knows no socket.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from heliostat._engines.local.messages import STORED, Call, Drops, Make, Run, Value


def received_with(message: Run | Make | Call) -> list[bytes]:
    """The objects that were lent to this process with a task or call."""
    received = [id_ for need, value in message.needs for id_ in (need, *value[3])]
    received.extend(message.call[3])
    if message.call_id is not None:
        received.append(message.call_id)
    return received


class Holdings:
    """Counts, for one process.

    Args:
        lock: Protects the counts and whatever else has to agree with them.
        let_go: Told of an object that nothing here refers to; False if it has to stay for now.
    """

    def __init__(self, lock: threading.RLock, let_go: Callable[[bytes], bool]) -> None:
        self.known: dict[bytes, Value] = {}
        self.dropped: deque[bytes] = deque()
        self.drop = self.dropped.append  # one reference or view less; safe in finalisers
        self._counts: dict[bytes, int] = {}
        self._lent: dict[bytes, int] = {}
        self._lock = lock
        self._let_go = let_go

    def own(self, id_: bytes) -> None:
        """A first reference to something that the hub counts as lent to this process."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1
            self._lent[id_] = self._lent.get(id_, 0) + 1

    def adopt(self, id_: bytes) -> None:
        """One more reference or view; the first one to something that the hub does not know."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1

    def lent(self, id_: bytes) -> None:
        """The hub counts it as lent to this process once more."""
        with self._lock:
            self._lent[id_] = self._lent.get(id_, 0) + 1

    def receive(self, id_: bytes | None, value: Value) -> None:
        """A value came with a task: its memory and the references inside were lent with it."""
        if value[0] == STORED and id_ is not None:
            self.lent(id_)
        for ref in value[3]:
            self.lent(ref)

    def refers(self, id_: bytes) -> bool:
        """Whether something here refers to it."""
        return self._counts.get(id_, 0) > 0

    def drops(self, received: Iterable[bytes] = ()) -> Drops:
        """What goes back now: dropped references, and of `received` what nobody here refers to."""
        gone: list[tuple[bytes, int]] = []
        counts, dropped = self._counts, self.dropped
        with self._lock:
            touched = list(received)
            while dropped:
                id_ = dropped.popleft()
                counts[id_] = counts.get(id_, 0) - 1
                touched.append(id_)
            for id_ in touched:
                if counts.get(id_, 0) > 0 or not self._let_go(id_):
                    continue
                counts.pop(id_, None)
                value = self.known.pop(id_, None)
                if value is not None and value[3]:  # lent with it, and perhaps never looked at
                    touched.extend(value[3])
                times = self._lent.pop(id_, 0)
                if times:
                    gone.append((id_, times))
        return tuple(gone)
