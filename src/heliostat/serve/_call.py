"""Call: one request on its way to a replica, and the table of replicas it may go to.

Values and a future. It does not know who sends it; that is `_dispatch.py`.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from heliostat.serve.config import RequestRouterConfig
from heliostat.serve.context import Cancellable, RequestContext

_ready_lock = threading.Lock()


class Table(NamedTuple):
    """What the controller publishes about one deployment."""

    version: int
    replicas: dict[str, Any]
    max_ongoing_requests: int
    max_queued_requests: int
    unavailable: str  # why no replica will come; empty while one may
    models: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - never changed; by replica
    wants_queued: bool = False  # the number of calls that wait decides about replicas
    router: RequestRouterConfig | None = None  # the user's, in place of the power of two choices
    routing_stats: dict[str, Mapping[str, Any]] = {}  # noqa: RUF012 - as `models`


class Sender(Protocol):
    """Whoever sends calls: a Dispatch, or its counterpart in one process."""

    def send(self, call: Call) -> None:
        """Give the call to a replica now, or when one is free."""

    def send_after(self, call: Call) -> None:
        """Send the call when all those in `call.after` are on their way."""

    def answer(self, call: Call, timeout_s: float | None) -> Any:
        """Wait for the answer in this thread."""

    async def answer_async(self, call: Call) -> Any:
        """Wait for the answer in an event loop."""

    def next_item(self, call: Call) -> Any:
        """Wait for a stream's next item in this thread."""

    async def next_item_async(self, call: Call) -> Any:
        """Wait for a stream's next item in an event loop."""

    def cancel(self, call: Call) -> None:
        """Stop the call."""

    def broadcast(self, make: Callable[[], Call]) -> concurrent.futures.Future[list[Call]]:
        """Send a call of its own to every replica there is, as soon as that is known."""

    async def reserve(self, reservation: Reservation) -> None:
        """Wait for a replica that is free, and keep it so."""

    def send_reserved(self, call: Call, reservation: Reservation) -> None:
        """Send a call to the replica that was kept for it."""

    def release(self, reservation: Reservation) -> None:
        """Nobody needs what is left of it."""

    def abandon(self, call: Call) -> None:
        """Nobody will ask for the answer."""


class Call:
    """One request on its way: first without a replica, then with a reference to its answer."""

    __slots__ = (
        "_ready",
        "after",
        "args",
        "context",
        "dispatch",
        "error",
        "family",
        "is_abandoned",
        "is_bound",
        "is_cancelled",
        "is_counted",
        "is_settling",
        "is_stream",
        "items",
        "kwargs",
        "method",
        "ref",
        "replica",
        "session_id",
        "taken",
        "tries",
    )

    def __init__(
        self,
        method: str,
        context: RequestContext,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_stream: bool = False,
    ) -> None:
        self.method = method
        self.context = context
        self.args = args
        self.kwargs = kwargs
        self.is_stream = is_stream
        self.dispatch: Sender | None = None  # as soon as it was given to one
        # Calls whose answers are arguments of this one, and stand among them until `resolve`.
        self.after: tuple[Call, ...] = ()
        self.ref: Any = None  # an ObjectRef; in local testing mode a future
        self.items: Any = None  # of a stream, beside `ref`
        self.taken = 0  # how many items of the stream the caller has
        self.error: Exception | None = None  # why it will never have a reference
        self.replica = ""
        self.session_id = ""  # what a router may keep together
        self.tries = 0
        self.is_counted = False  # as a load of its replica
        self.is_settling = False  # somebody hears when its answer is there
        self.is_abandoned = False  # nobody will ask for the answer
        self.is_cancelled = False
        self.is_bound = False  # to its replica: no other will do
        # The calls of the request that made this one, as long as it has not ended.
        self.family: set[Cancellable] | None = None
        self._ready: concurrent.futures.Future[None] | None = None

    def cancel(self) -> None:
        """Stop it, wherever it is."""
        self.is_cancelled = True
        if self.dispatch is not None:
            self.dispatch.cancel(self)

    def resolve(self) -> None:
        """Put the references of the calls in `after`, which are on their way, in their places.

        Raises:
            Exception: Why one of them has none.
        """
        self.args = tuple(_reference(value) for value in self.args)
        self.kwargs = {key: _reference(value) for key, value in self.kwargs.items()}

    def ready(self) -> concurrent.futures.Future[None]:
        """Done when there is a reference or an error."""
        with _ready_lock:
            if self._ready is not None:
                return self._ready
            ready: concurrent.futures.Future[None] = concurrent.futures.Future()
            if self.ref is not None or self.error is not None:
                ready.set_result(None)
            else:
                self._ready = ready
            return ready

    def begin(
        self,
        ref: Any,
        error: Exception | None,
        items: Any = None,
    ) -> None:
        """It has its reference, or will never have one; wake who waits for that."""
        with _ready_lock:
            self.items = items
            self.ref, self.error = ref, error
            ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_result(None)


def _reference(value: Any) -> Any:
    if not isinstance(value, Call):
        return value
    if value.error is not None:
        raise value.error
    return value.ref


class Reservation(Call):
    """A place on a replica, kept for a call that is yet to come; it waits as a call does."""

    __slots__ = ("actor",)

    def __init__(self, call: Call) -> None:
        super().__init__(call.method, call.context, call.args, call.kwargs, call.is_stream)
        self.session_id = call.session_id
        self.actor: Any = None
        self._ready = concurrent.futures.Future()

    def ready(self) -> concurrent.futures.Future[None]:
        """Done when there is a replica, or an error."""
        assert self._ready is not None
        return self._ready

    def begin(self, ref: Any, error: Exception | None, items: Any = None) -> None:
        """There is a replica, or there will never be one."""
        self.error = error
        ready = self.ready()
        if not ready.done():
            ready.set_result(None)
