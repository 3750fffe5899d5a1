"""Dispatch: this process's calls to one deployment. Feeds a Router, sends calls to replicas.

One per deployment and process, shared by all its handles. The table of replicas comes from the
controller by a call that it answers when there is news. It does not know what a call means.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.exceptions import (
    GetTimeoutError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
)
from heliostat.serve._router import Router
from heliostat.serve.context import RequestContext
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaClosedError,
    RequestCancelledError,
)

logger = logging.getLogger("heliostat.serve")

CONTROLLER, NAMESPACE = "SERVE_CONTROLLER_ACTOR", "serve"
# A replica that dies takes its requests along; each is tried on another one at most so often,
# so that a request that kills whoever runs it cannot end all replicas.
MOST_TRIES = 3
_CALLBACK_S = 0.01
_ready_lock = threading.Lock()


class Table(NamedTuple):
    """What the controller publishes about one deployment."""

    version: int
    replicas: dict[str, Any]
    max_ongoing_requests: int
    max_queued_requests: int
    unavailable: str  # why no replica will come; empty while one may


class Call:
    """One request on its way: first without a replica, then with a reference to its answer."""

    __slots__ = (
        "_ready",
        "after",
        "args",
        "context",
        "error",
        "is_abandoned",
        "is_counted",
        "kwargs",
        "method",
        "ref",
        "replica",
        "tries",
    )

    def __init__(
        self,
        method: str,
        context: RequestContext,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.method = method
        self.context = context
        self.args = args
        self.kwargs = kwargs
        self.after: tuple[Call, ...] = ()  # calls whose answers are arguments of this one
        self.ref: ray.ObjectRef[Any] | None = None
        self.error: Exception | None = None  # why it will never have a reference
        self.replica = ""
        self.tries = 0
        self.is_counted = False  # as a load of its replica
        self.is_abandoned = False  # nobody will ask for the answer
        self._ready: concurrent.futures.Future[None] | None = None

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

    def begin(self, ref: ray.ObjectRef[Any] | None, error: Exception | None) -> None:
        """It has its reference, or will never have one; wake who waits for that."""
        with _ready_lock:
            self.ref, self.error = ref, error
            ready, self._ready = self._ready, None
        if ready is not None:
            ready.set_result(None)


class Dispatch:
    """The calls of this process to one deployment.

    A call counts as a load of its replica until its answer is taken; if nobody takes it, until
    it is there. Whoever waits does it by Core's own means: the thread then reads what arrives
    itself, which is quicker than being woken by another.

    Args:
        app_name: The application.
        deployment: The deployment in it.
        controller: Where the table comes from; None when `publish` is called by hand.
    """

    def __init__(self, app_name: str, deployment: str, controller: Any = None) -> None:
        self.name = f"{deployment!r} of application {app_name!r}"
        self._key = (app_name, deployment)
        self._controller = controller
        self._lock = threading.RLock()
        self._router = Router()
        self._rng = random.Random()
        self._table: Table | None = None
        self._waiting: deque[Call] = deque()
        self._news: ray.ObjectRef[Table] | None = None
        if controller is not None:
            self._watch(-1)

    @property
    def is_unavailable(self) -> bool:
        """The last table said that no replica will come."""
        return self._table is not None and bool(self._table.unavailable)

    def send(self, call: Call) -> None:
        """Give the call to a replica now, or when there is one."""
        with self._lock:
            table = self._table
            error = self._why_not(call, table)
            replica = None if error else self._router.assign(self._rng)
            if error is None and (replica is None or table is None):
                self._waiting.append(call)
                return
        if error is not None or replica is None or table is None:
            call.begin(None, error)
            return
        call.replica, call.is_counted = replica, True
        call.tries += 1
        method = table.replicas[replica].call
        call.begin(method.remote(call.method, tuple(call.context), *call.args, **call.kwargs), None)
        if call.is_abandoned or table.max_queued_requests >= 0:
            self._settle_later(call)

    def send_after(self, call: Call, prepare: Callable[[], None]) -> None:
        """Send the call when all those in `call.after` are on their way.

        Args:
            prepare: Puts their references among the arguments; an error is the call's.
        """
        left, lock = len(call.after), threading.Lock()

        def one_ready(_done: object = None) -> None:
            nonlocal left
            with lock:
                left -= 1
            if left > 0:
                return
            try:
                prepare()
            except Exception as error:  # noqa: BLE001 - the argument's error is the call's error
                call.begin(None, error)
            else:
                self.send(call)

        for earlier in call.after:
            earlier.ready().add_done_callback(one_ready)

    def answer(self, call: Call, timeout_s: float | None) -> Any:
        """Wait for the call's answer in this thread.

        Raises:
            TimeoutError: When it is not there in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            ref = call.ref
            if call.error is not None:
                raise call.error
            if ref is None:
                self._wait_for_replica(call, left_s)
                if left_s == 0 and call.ref is None and call.error is None:
                    raise TimeoutError(f"no replica of {self.name} within {timeout_s} s")
                continue
            try:
                value = ray.get(ref, timeout=left_s)
            except GetTimeoutError:
                raise TimeoutError(f"{self.name} has no answer after {timeout_s} s") from None
            except Exception as error:  # noqa: BLE001 - the user's, or the replica's death
                if not self._settle(call, ref, error):
                    raise _told(error) from None
            else:
                self._settle(call, ref, None)
                return value

    async def answer_async(self, call: Call) -> Any:
        """Wait for the call's answer in an event loop."""
        while True:
            if call.ref is None:
                await asyncio.wrap_future(call.ready())
            if call.error is not None:
                raise call.error
            ref = call.ref
            if ref is None:
                continue
            try:
                value = await ref
            except Exception as error:  # noqa: BLE001 - the user's, or the replica's death
                if not self._settle(call, ref, error):
                    raise _told(error) from None
            else:
                self._settle(call, ref, None)
                return value

    def abandon(self, call: Call) -> None:
        """Nobody will ask for the answer."""
        call.is_abandoned = True
        if call.is_counted and call.ref is not None:
            self._settle_later(call)

    def publish(self, table: Table) -> None:
        """A new table; what waited for a replica goes on its way."""
        with self._lock:
            self._table = table
            self._router.publish(
                list(table.replicas), table.max_ongoing_requests, table.max_queued_requests
            )
            waiting = list(self._waiting) if table.replicas or table.unavailable else []
            if waiting:
                self._waiting.clear()
        for call in waiting:
            call.tries = max(call.tries, 1)  # admitted already
            self.send(call)

    def _wait_for_replica(self, call: Call, timeout_s: float | None) -> None:
        """Until there may be news of a call that has no replica."""
        for earlier in call.after:
            if earlier.ref is None and earlier.error is None:
                self._wait_for_replica(earlier, timeout_s)
        ready = call.ready()
        if self._news is not None and not ready.done():
            ray.wait([self._news], timeout=timeout_s)
            timeout_s = _CALLBACK_S  # its callback may still be running in another thread
        concurrent.futures.wait([ready], timeout_s)

    def _settle(self, call: Call, ref: ray.ObjectRef[Any], error: BaseException | None) -> bool:
        """Take the end of a try into account; True when the call goes on with another replica."""
        # A RayTaskError is what the user's code raised, even if it raised an actor's death.
        died = isinstance(error, RayActorError) and not isinstance(error, RayTaskError)
        closed = isinstance(error, ReplicaClosedError)  # it had not begun: no try was used up
        with self._lock:
            if call.ref is not ref:
                return True  # another thread was here first
            if call.is_counted:
                call.is_counted = False
                self._router.finished(call.replica)
            if died or closed:
                self._router.lost(call.replica)
            if not closed and not (died and call.tries < MOST_TRIES):
                return False
            call.ref = None
        self.send(call)
        return True

    def _settle_later(self, call: Call) -> None:
        ref = call.ref
        assert ref is not None
        ref.future().add_done_callback(lambda done: self._settle(call, ref, done.exception()))

    def _why_not(self, call: Call, table: Table | None) -> Exception | None:
        if table is None:
            return None
        if table.unavailable:
            return DeploymentUnavailableError(table.unavailable)
        if call.tries == 0 and not self._router.admits(len(self._waiting)):
            return self._refusal(table)
        return None

    def _refusal(self, table: Table) -> BackPressureError:
        return BackPressureError(
            f"{self.name} has {len(table.replicas)} replicas with max_ongoing_requests="
            f"{table.max_ongoing_requests}, and max_queued_requests={table.max_queued_requests} "
            "wait already"
        )

    def _watch(self, version: int) -> None:
        self._news = self._controller.watch.remote(*self._key, version)
        self._news.future().add_done_callback(self._on_news)

    def _on_news(self, done: concurrent.futures.Future[Table]) -> None:
        error = done.exception()
        if error is None:
            table = done.result()
            self.publish(table)
            self._watch(table.version)
            return
        with _lock:  # Serve has ended: the next handle looks for another controller
            _known.pop((self._controller, *self._key), None)
        self.publish(Table(0, {}, 1, -1, f"Serve was shut down ({type(error).__name__})"))


def _told(error: Exception) -> Exception:
    """What the caller sees of an error."""
    if isinstance(error, TaskCancelledError) and not isinstance(error, RayTaskError):
        return RequestCancelledError("the request was cancelled")
    return error


_lock = threading.Lock()
_known: dict[tuple[Any, str, str], Dispatch] = {}


def find_controller() -> Any:
    """The controller's handle.

    Raises:
        RayServeException: When Serve does not run.
    """
    try:
        return ray.get_actor(CONTROLLER, namespace=NAMESPACE)
    except ValueError:
        raise RayServeException("Serve is not running; call serve.run(app) first") from None


def forget_unavailable(app_name: str) -> None:
    """After a deploy: what was unavailable is asked for anew, not believed until news comes."""
    with _lock:
        for key, dispatch in list(_known.items()):
            if key[1] == app_name and dispatch.is_unavailable:
                del _known[key]


def dispatch_to(app_name: str, deployment: str) -> Dispatch:
    """This process's Dispatch of that deployment.

    Raises:
        RayServeException: When Serve does not run.
    """
    controller = find_controller()
    key = (controller, app_name, deployment)
    with _lock:
        if key not in _known:
            _known[key] = Dispatch(app_name, deployment, controller)
        return _known[key]
