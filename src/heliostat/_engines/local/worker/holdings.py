"""Holdings: what a worker process was lent, what of it somebody here uses, and what goes back.

What was lent goes back when nothing here refers to it. Knows no socket.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable

from heliostat._engines.local.messages import (
    SPILLED,
    STORED,
    Call,
    Drops,
    Make,
    Run,
    Value,
)


def received_with(message: Run | Make | Call) -> list[bytes]:
    """The objects that were lent to this process with a task or call."""
    received = [id_ for need, value in message.needs for id_ in (need, *value[3])]
    received.extend(message.call[3])
    if message.call_id is not None:
        received.append(message.call_id)
    return received


class Holdings:
    """Counts, for one process. Any thread may call, and a signal's handler in between.

    Args:
        lock: Protects the counts and whatever else has to agree with them.
        let_go: Told of an object that nothing here refers to; False if it has to stay for now.
    """

    def __init__(self, lock: threading.RLock, let_go: Callable[[bytes], bool]) -> None:
        self.known: dict[bytes, Value] = {}  # values that were delivered
        self.dropped: deque[bytes] = deque()
        self.unseen: deque[bytes] = deque()  # views that are gone
        self.drop = self.dropped.append  # one reference less; safe in finalisers
        self.look_away = self.unseen.append  # one view less; the same
        self._counts: dict[bytes, int] = {}  # references and views here
        self._lent: dict[bytes, int] = {}
        # What must stay where it is: views of each, and tasks that brought it and have not ended.
        self._looks: dict[bytes, int] = {}
        self._lock = lock
        self._let_go = let_go

    def own(self, id_: bytes) -> None:
        """A first reference to something that the hub counts as lent to this process."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1
            self._lent[id_] = self._lent.get(id_, 0) + 1

    def adopt(self, id_: bytes) -> None:
        """One more reference; the first one to something that the hub does not know."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1

    def lent(self, id_: bytes) -> None:
        """The hub counts it as lent to this process once more."""
        with self._lock:
            self._lent[id_] = self._lent.get(id_, 0) + 1

    def refers(self, id_: bytes) -> bool:
        """Whether something here refers to it."""
        return self._counts.get(id_, 0) > 0

    def delivered(self, id_: bytes, value: Value) -> None:
        """A value that was wanted here came."""
        self.known[id_] = value
        self.lent(id_)
        for ref in value[3]:
            self.lent(ref)

    def received(self, message: Run | Make | Call) -> None:
        """A task came with its arguments: their memory and the references inside were lent."""
        needs, call = message.needs, message.call
        for id_, value in needs:
            self._receive(id_, value)
        if message.call_id is not None or call[3]:
            self._receive(message.call_id, call)

    def _receive(self, id_: bytes | None, value: Value) -> None:
        if value[0] == STORED and id_ is not None:
            with self._lock:
                self.lent(id_)
                self._looks[id_] = self._looks.get(id_, 0) + 1
                if id_ in self.known:  # it may have been elsewhere before
                    self.known[id_] = value
        for ref in value[3]:
            self.lent(ref)

    # Places

    def look(self, id_: bytes, value: Value) -> Value:
        """The value as it is known here; it stays where it is until somebody looks away."""
        # Counted first: a signal in between may bring a `LetGo`, which spares what is counted.
        with self._lock:
            self._looks[id_] = self._looks.get(id_, 0) + 1
            self._counts[id_] = self._counts.get(id_, 0) + 1
            return self.known.get(id_, value)

    def fetched(self, id_: bytes, value: Value) -> None:
        """What somebody looks at is in memory again."""
        with self._lock:
            self.known[id_] = value

    def forget_places(self, ids: Collection[bytes]) -> tuple[bytes, ...]:
        """Forget where these are, but not those that somebody looks at; which were forgotten."""
        gone = []
        with self._lock:
            for id_ in ids:
                if self._looks.get(id_):
                    continue
                value = self.known.get(id_)
                if value is not None and value[0] == STORED:
                    self.known[id_] = SPILLED, 0, *value[2:]
                gone.append(id_)
        return tuple(gone)

    # What goes back when nothing here refers to it

    def done_with(self, message: Run | Make | Call) -> Drops:
        """A task has ended, or is given back: what goes back with it."""
        plain = message.call_id is None and not message.needs and not message.call[3]
        if plain and not self.dropped and not self.unseen:
            return ()
        received = received_with(message)
        with self._lock:
            for need, value in message.needs:
                if value[0] == STORED:
                    self._unlook(need)
            if message.call_id is not None:
                self._unlook(message.call_id)
        return self.drops(received)

    def _unlook(self, id_: bytes) -> None:
        left = self._looks[id_] - 1
        if left:
            self._looks[id_] = left
        else:
            del self._looks[id_]

    def backlog(self) -> int:
        """How much was dropped and has not been looked at."""
        return len(self.dropped) + len(self.unseen)

    def drops(self, received: Iterable[bytes] = ()) -> Drops:
        """What goes back now: dropped references, and of `received` what nobody here refers to."""
        gone: list[tuple[bytes, int]] = []
        counts, dropped, unseen = self._counts, self.dropped, self.unseen
        with self._lock:
            touched = list(received)
            while unseen:
                id_ = unseen.popleft()
                self._unlook(id_)
                dropped.append(id_)
            while dropped:
                id_ = dropped.popleft()
                counts[id_] = counts.get(id_, 0) - 1
                touched.append(id_)
            for id_ in touched:
                # What a task brought stays until it ends: it reads it where it was told.
                if counts.get(id_, 0) > 0 or id_ in self._looks or not self._let_go(id_):
                    continue
                counts.pop(id_, None)
                value = self.known.pop(id_, None)
                if value is not None and value[3]:  # lent with it, and perhaps never looked at
                    touched.extend(value[3])
                times = self._lent.pop(id_, 0)
                if times:
                    gone.append((id_, times))
        return tuple(gone)
