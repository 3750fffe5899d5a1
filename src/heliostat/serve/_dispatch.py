"""Dispatch: this process's calls to one deployment. Feeds a Router, sends calls to replicas.

One per deployment and process, shared by all its handles. The table of replicas comes from the
controller by a call that it answers when there is news. It does not know what a call means.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import heliostat as ray
from heliostat.exceptions import (
    GetTimeoutError,
    RayActorError,
    RayTaskError,
    SerializationError,
    TaskCancelledError,
)
from heliostat.serve._call import Call, Reservation, Table
from heliostat.serve._router import Router
from heliostat.serve._routing import Routing
from heliostat.serve._unpicklable import explained, named
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaClosedError,
    ReplicaUnavailableError,
    RequestCancelledError,
)

logger = logging.getLogger("heliostat.serve")

CONTROLLER, NAMESPACE = "HELIOSTAT_SERVE_CONTROLLER", "serve"  # not Ray's own: both may run
# A replica that dies takes its requests along; each is tried on another one at most so often,
# so that a request that kills whoever runs it cannot end all replicas.
MOST_TRIES = 3


class Dispatch:
    """The calls of this process to one deployment.

    A call counts as a load of its replica until its answer is taken; if nobody takes it, or
    others wait for a replica, until it is there. Whoever waits does it by Core's own means: the
    thread then reads what arrives itself, which is quicker than being woken by another.

    Args:
        app_name: The application.
        deployment: The deployment in it.
        controller: Where the table comes from; None when `publish` is called by hand.
    """

    def __init__(self, app_name: str, deployment: str, controller: Any = None) -> None:
        self.name = f"{deployment!r} of application {app_name!r}"
        self._key = (app_name, deployment)
        self._controller = controller
        self._caller = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._router = Router()
        self._routing: Routing | None = None  # the user's choice in place of the router's
        self._rng = random.Random()
        self._table: Table | None = None
        self._waiting: deque[Call] = deque()
        # Those that came before the first table.
        self._broadcasts: list[
            tuple[Callable[[], Call], concurrent.futures.Future[list[Call]]]
        ] = []
        self._told_waiting = 0
        self._counted: set[Call] = set()
        self._news: ray.ObjectRef[Table] | None = None
        if controller is not None:
            self._watch(-1)

    @property
    def is_unavailable(self) -> bool:
        """The last table said that no replica will come."""
        return self._table is not None and bool(self._table.unavailable)

    @property
    def has_replicas(self) -> bool:
        """The last table had replicas."""
        return self._table is not None and bool(self._table.replicas)

    def send(self, call: Call) -> None:
        """Give the call to a replica now, or when one is free."""
        call.dispatch = self
        if not self._place(call, is_new=True):
            self._tell_waiting()
        elif call.error is not None and self._waiting:
            self._send_waiting()  # it may have given back a place

    def _place(self, call: Call, *, is_new: bool) -> bool:
        """Give the call to a replica; False when it waits, behind the others or before them."""
        actor = None
        with self._lock:
            table = self._table
            error = self._why_not(call, table)
            if error is None and table is not None:
                replica, error = self._assigned(call)
                if replica is not None:
                    actor = table.replicas[replica]
                    call.replica, call.is_counted = replica, True
                    if not isinstance(call, Reservation):
                        self._counted.add(call)
            if error is None and actor is None:
                (self._waiting.append if is_new else self._waiting.appendleft)(call)
                self._watch_counted()
                return False
            hurries = bool(self._waiting) or (table is not None and table.max_queued_requests >= 0)
        if actor is None:
            call.begin(None, error)
            return True
        call.tries += 1
        if isinstance(call, Reservation):
            call.actor = actor
            call.begin(None, None)
            return True
        self._launch(call, actor, hurries=hurries)
        return True

    def _launch(self, call: Call, actor: Any, *, hurries: bool) -> None:
        """Send it to its replica, and hear of the answer if somebody needs the place."""
        if not self._begin(call, actor):
            return
        if self._routing is not None:
            self._routing.routed(call)
        if call.is_cancelled:
            self.cancel(call)
        elif hurries or call.is_abandoned:
            self._settle_later(call)

    def _assigned(self, call: Call) -> tuple[str | None, Exception | None]:
        """The replica for a call, counted as busy; or the error of the user's router."""
        if self._routing is None:
            return self._router.assign(self._rng, call.context.multiplexed_model_id), None
        try:
            replica = self._routing.choose(call, self._router.loads)
        except Exception as error:  # noqa: BLE001 - user code: its error is the call's
            return None, error
        if replica is not None:
            self._router.take(replica)
        return replica, None

    def _begin(self, call: Call, actor: Any) -> bool:
        """Send it to its replica; False when that cannot be, which then is the call's error."""
        args = (call.method, *call.context, *call.args)
        try:
            if not call.is_stream:
                call.begin(actor.call.remote(*args, **call.kwargs), None)
                return True
            items = actor.stream.options(num_returns="streaming").remote(*args, **call.kwargs)
            call.begin(items.completed(), None, items)
        except SerializationError as error:
            where = f"the call of {call.method} of {self.name}"
            self._fail(call, explained(error, named(call.args, call.kwargs), where))
            return False
        except Exception as error:  # noqa: BLE001 - the user's arguments, which are pickled here
            self._fail(call, error)
            return False
        return True

    def _fail(self, call: Call, error: Exception) -> None:
        """It was not sent: its place, if it has one, is free again."""
        with self._lock:
            if call.is_counted:
                call.is_counted = False
                self._counted.discard(call)
                self._router.finished(call.replica)
        call.begin(None, error)

    def broadcast(self, make: Callable[[], Call]) -> concurrent.futures.Future[list[Call]]:
        """Send a call of its own to every replica there is, as soon as that is known.

        No limit holds it up, and none is tried on another replica. With no replica at all the
        future has a DeploymentUnavailableError.
        """
        sent: concurrent.futures.Future[list[Call]] = concurrent.futures.Future()
        with self._lock:
            table = self._table
            if table is None:
                self._broadcasts.append((make, sent))
        if table is not None:
            self._send_to_all(make, sent, table)
        return sent

    def _send_to_all(
        self,
        make: Callable[[], Call],
        sent: concurrent.futures.Future[list[Call]],
        table: Table,
    ) -> None:
        if not table.replicas:
            why = table.unavailable or f"{self.name} has no replica now"
            sent.set_exception(DeploymentUnavailableError(why))
            return
        calls = []
        for name, actor in table.replicas.items():
            call = make()
            call.dispatch, call.replica, call.is_bound = self, name, True
            self._after(call, functools.partial(self._begin, call, actor))
            calls.append(call)
        sent.set_result(calls)

    async def reserve(self, reservation: Reservation) -> None:
        """Wait for a replica that is free, and keep it so until the call comes, or `release`.

        Raises:
            RayServeException: As for a call that is refused.
        """
        self.send(reservation)
        try:
            await asyncio.shield(asyncio.wrap_future(reservation.ready()))
        except asyncio.CancelledError:
            self.cancel(reservation)
            self.release(reservation)
            raise
        if reservation.error is not None:
            raise reservation.error

    def send_reserved(self, call: Call, reservation: Reservation) -> None:
        """Send a call to the replica that was kept for it; it is tried on no other.

        Raises:
            ReplicaUnavailableError: When the replica has gone meanwhile, or had its call.
        """
        call.dispatch, call.replica, call.is_bound = self, reservation.replica, True
        with self._lock:
            lives = call.replica in self._router.loads
            if lives and reservation.is_counted:
                reservation.is_counted, call.is_counted = False, True
                self._counted.add(call)
        if not call.is_counted:
            why = "has had its call" if lives else "is gone"
            raise ReplicaUnavailableError(f"replica {call.replica}, which was chosen, {why}")
        self._after(call, functools.partial(self._begin_reserved, call, reservation.actor))

    def _begin_reserved(self, call: Call, actor: Any) -> None:
        self._launch(call, actor, hurries=bool(self._waiting))
        if call.error is not None:
            self._send_waiting()

    def release(self, reservation: Reservation) -> None:
        """Let others have the place, if no call has taken it."""
        with self._lock:
            is_held, reservation.is_counted = reservation.is_counted, False
            if is_held:
                self._router.finished(reservation.replica)
        if is_held:
            self._send_waiting()

    def send_after(self, call: Call) -> None:
        """Send the call when all those in `call.after` are on their way."""
        self._after(call, functools.partial(self.send, call))

    def _after(self, call: Call, send: Callable[[], object]) -> None:
        """Send the call when all those in `call.after` are on their way; an error is its own."""
        if not call.after:
            send()
            return
        left, lock = len(call.after), threading.Lock()

        def one_ready(_done: object = None) -> None:
            nonlocal left
            with lock:
                left -= 1
            if left > 0:
                return
            try:
                call.resolve()
            except Exception as error:  # noqa: BLE001 - the argument's error is the call's error
                self._fail(call, error)
                self._send_waiting()
            else:
                send()

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
        """Wait for the call's answer in an event loop; whoever stops waiting cancels it."""
        try:
            while True:
                if call.ref is None:
                    await self._ref_of(call)
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
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    def next_item(self, call: Call) -> Any:
        """Wait for a stream's next item in this thread.

        Raises:
            StopIteration: After the last.
        """
        while True:
            if call.error is not None:
                raise call.error
            items, ref = call.items, call.ref
            if items is None or ref is None:
                self._wait_for_replica(call, None)
                continue
            try:
                value = ray.get(next(items))
            except StopIteration:
                self._settle(call, ref, None)
                raise
            except Exception as error:  # noqa: BLE001 - the user's, or the replica's death
                if not self._settle(call, ref, error):
                    raise _told(error) from None
            else:
                call.taken += 1
                return value

    async def next_item_async(self, call: Call) -> Any:
        """Wait for a stream's next item in an event loop; whoever stops waiting cancels it.

        Raises:
            StopAsyncIteration: After the last.
        """
        try:
            while True:
                await self._ref_of(call)
                items, ref = call.items, call.ref
                if items is None or ref is None:
                    continue
                try:
                    value = await (await anext(items))
                except StopAsyncIteration:
                    self._settle(call, ref, None)
                    raise
                except Exception as error:  # noqa: BLE001 - the user's, or the replica's death
                    if not self._settle(call, ref, error):
                        raise _told(error) from None
                else:
                    call.taken += 1
                    return value
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    async def _ref_of(self, call: Call) -> None:
        if call.ref is None and call.error is None:
            await asyncio.shield(asyncio.wrap_future(call.ready()))
        if call.error is not None:
            raise call.error

    def cancel(self, call: Call) -> None:
        """Ask the replica to stop; a call that waits for one is not sent any more."""
        call.is_cancelled = True
        with self._lock:
            waits = call in self._waiting
            if waits:
                self._waiting.remove(call)
        if waits:
            call.begin(None, RequestCancelledError("the request was cancelled"))
            self._tell_waiting()
        elif call.ref is not None:
            ray.cancel(call.ref)
            self._settle_later(call)

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
                list(table.replicas),
                table.max_ongoing_requests,
                table.max_queued_requests,
                table.models,
            )
            if table.router is None:
                self._routing = None
            elif self._routing is None or self._routing.config != table.router:
                self._routing = Routing(table.router, DeploymentID(self._key[1], self._key[0]))
            if self._routing is not None:
                self._routing.publish(table)
            self._told_waiting = 0 if not self._waiting else self._told_waiting
            broadcasts, self._broadcasts = self._broadcasts, []
        for make, sent in broadcasts:
            self._send_to_all(make, sent, table)
        self._send_waiting()
        self._tell_waiting()

    def _send_waiting(self) -> None:
        """As many of those that wait as there is room for now."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                call = self._waiting.popleft()
                call.tries = max(call.tries, 1)  # admitted already
            if not self._place(call, is_new=False):
                return

    def _wait_for_replica(self, call: Call, timeout_s: float | None) -> None:
        """Until there may be news of a call that has no replica."""
        for earlier in call.after:
            if earlier.ref is None and earlier.error is None:
                self._wait_for_replica(earlier, timeout_s)
        concurrent.futures.wait([call.ready()], timeout_s)

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
                self._counted.discard(call)
                self._router.finished(call.replica)
                if self._routing is not None:
                    self._routing.completed(call, died=died)
            if died or closed:
                self._router.lost(call.replica)
            again = closed or (died and call.tries < MOST_TRIES)
            if again and not (call.taken or call.is_cancelled or call.is_bound):
                call.ref = call.items = None
                call.is_settling = False
            else:
                again = False
                if call.family is not None:
                    call.family.discard(call)
                    call.family = None
            crowded = bool(self._waiting)
        if again:
            self.send(call)
        if crowded:
            self._send_waiting()
            self._tell_waiting()
        return again

    def _settle_later(self, call: Call) -> None:
        ref = call.ref
        if ref is None or call.is_settling:
            return
        call.is_settling = True
        ref.future().add_done_callback(lambda done: self._settle(call, ref, done.exception()))

    def _watch_counted(self) -> None:
        """Some call waits: hear of every answer when it is there, not when it is taken."""
        for call in list(self._counted):
            self._settle_later(call)

    def _tell_waiting(self) -> None:
        """Let the controller know how many calls wait, where that decides about replicas."""
        with self._lock:
            table, waiting, told = self._table, len(self._waiting), self._told_waiting
            if self._controller is None or table is None or not table.wants_queued:
                return
            # Not every change: a burst would be as many messages as it has calls.
            if waiting and told and abs(waiting - told) <= told // 8:
                return
            if waiting == told:
                return
            self._told_waiting = waiting
        self._controller.report_queued.remote(*self._key, self._caller, waiting)

    def _why_not(self, call: Call, table: Table | None) -> Exception | None:
        if call.is_cancelled:
            return RequestCancelledError("the request was cancelled")
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
        why = f"Serve was shut down ({type(error).__name__})"
        if not isinstance(error, RayActorError):
            why = f"what the controller says of {self.name} cannot be read: {error}"
        self.publish(Table(0, {}, 1, -1, why))


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
