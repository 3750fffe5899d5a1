"""Dispatch: this process's calls to one deployment. Feeds a Router, sends calls to replicas.

One per deployment and process, shared by all its handles. The table of replicas comes from the
controller by a call that it answers when there is news. It does not know what a call means.
"""

from __future__ import annotations

import concurrent.futures
import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.exceptions import RayActorError, RayTaskError, TaskCancelledError
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


class Table(NamedTuple):
    """What the controller publishes about one deployment."""

    version: int
    replicas: dict[str, Any]
    max_ongoing_requests: int
    max_queued_requests: int
    unavailable: str  # why no replica will come; empty while one may


@dataclass(slots=True, eq=False)
class Call:
    """One request on its way."""

    method: str
    context: RequestContext
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outcome: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)
    ref: ray.ObjectRef[Any] | None = None
    tries: int = 0
    after: tuple[Call, ...] = ()  # calls whose values are arguments of this one


class Dispatch:
    """The calls of this process to one deployment.

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

    def send(self, call: Call) -> None:
        """Give the call to a replica now, or when there is one; the end is in `call.outcome`."""
        with self._lock:
            if self._table is not None and self._table.unavailable:
                call.outcome.set_exception(DeploymentUnavailableError(self._table.unavailable))
                return
            if call.tries == 0 and self._table and not self._router.admits(len(self._waiting)):
                call.outcome.set_exception(self._refusal())
                return
            replica = self._router.assign(self._rng)
            if replica is None or self._table is None:
                self._waiting.append(call)
                return
            actor = self._table.replicas[replica]
        call.tries += 1
        call.ref = actor.call.remote(call.method, call.context, *call.args, **call.kwargs)
        call.ref.future().add_done_callback(lambda done: self._finished(call, replica, done))

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

    def wait(self, call: Call, timeout_s: float | None) -> None:
        """Until the call has its outcome, or the time is over.

        It waits by Core's own means: then this thread itself reads what arrives, which is quicker
        than being woken, and in a task nobody else would read.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for earlier in call.after:
            self.wait(earlier, timeout_s)
        while not call.outcome.done():
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            ref = call.ref or self._news
            if ref is not None:
                ready, _ = ray.wait([ref], timeout=left_s)
                left_s = _CALLBACK_S if ready else 0
            # The callback of what is ready may still be running in another thread.
            concurrent.futures.wait([call.outcome], left_s)

    def _finished(self, call: Call, replica: str, done: concurrent.futures.Future[Any]) -> None:
        error = done.exception()
        # A RayTaskError is what the user's code raised, even if it raised an actor's death.
        died = isinstance(error, RayActorError) and not isinstance(error, RayTaskError)
        closed = isinstance(error, ReplicaClosedError)  # it had not begun: no try was used up
        with self._lock:
            self._router.finished(replica)
            if died or closed:
                self._router.lost(replica)
        if closed or (died and call.tries < MOST_TRIES):
            self.send(call)
        elif error is None:
            call.outcome.set_result(done.result())
        elif isinstance(error, TaskCancelledError) and not isinstance(error, RayTaskError):
            call.outcome.set_exception(RequestCancelledError("the request was cancelled"))
        else:
            call.outcome.set_exception(error)

    def _refusal(self) -> BackPressureError:
        table = self._table
        assert table is not None
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
            if not table.unavailable or table.replicas:
                self._watch(table.version)
                return
        with _lock:  # the deployment or all of Serve has ended: the next handle asks anew
            _known.pop((self._controller, *self._key), None)
        if error is not None:
            self.publish(Table(0, {}, 1, -1, f"Serve was shut down ({type(error).__name__})"))


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
