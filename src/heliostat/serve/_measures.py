"""Measures: what Serve records of requests, under Ray's names.

A request is counted here, and the metrics are told of many at a time: telling costs more than a
short request. It knows no requests: who answers one says how it went.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from bisect import bisect_left

from heliostat.runtime_context import Series

_SHORT_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
_MS = (*_SHORT_MS, 1000.0, 2000.0, 5000.0, 10000.0, 60000.0, 300000.0)
_TELL_S = 0.1  # how long what was counted may stay here

Words = tuple[str, str]  # the name of a metric, and what it is


class _Answers:
    """The answers that have one set of tags; errors may call the same differently.

    What threads do here at the same time is one call of a list or a set each, which is whole.
    """

    __slots__ = ("_errors", "_failed", "_latency_ms", "_requests", "_took_s")

    def __init__(
        self,
        requests: Words,
        errors: Words,
        latency_ms: Words,
        tags: dict[str, str],
        error_tags: dict[str, str],
    ) -> None:
        of, of_error = tuple(sorted(tags.items())), tuple(sorted(error_tags.items()))
        self._requests = Series("counter", *requests, (), of)
        self._errors = Series("counter", *errors, (), of_error)
        self._latency_ms = Series("histogram", *latency_ms, _MS, of)
        self._took_s: list[float] = []
        self._failed: list[float] = []  # the ends of those that did

    def count(self, began: float, failed: bool) -> None:
        """One more, which began at that time of `time.monotonic`."""
        now = time.monotonic()
        self._took_s.append(now - began)
        if failed:
            self._failed.append(now)
        _untold.add(self)
        if now >= _teller.due or not _teller.is_set:
            _teller.look(now)

    def tell(self) -> None:
        """Hand over what was counted; one at a time."""
        took_s, failed = _taken(self._took_s), _taken(self._failed)
        times = [0.0] * (len(_MS) + 2)  # the buckets, what is above them, the sum
        for seconds in took_s:
            times[bisect_left(_MS, seconds * 1000)] += 1
        times[-1] = sum(took_s) * 1000
        self._requests.add(len(took_s))
        self._latency_ms.merge(times)
        if failed:
            self._errors.add(len(failed))


def _taken(values: list[float]) -> list[float]:
    """What is in the list now, which may grow meanwhile."""
    taken = values[:]
    del values[: len(taken)]
    return taken


class _Teller:
    """Sees to it that what was counted is told, at once or with what comes in the next moment."""

    def __init__(self) -> None:
        self.due = 0.0  # not before that, if somebody will
        self.is_set = False

    def look(self, now: float) -> None:
        """Something was counted."""
        if now >= self.due:
            self.tell()
        elif not self.is_set:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.tell()  # nobody would call back
            else:
                self.is_set = True
                loop.call_later(self.due - now, self.tell)

    def tell(self) -> None:
        """Tell all there is."""
        self.due, self.is_set = time.monotonic() + _TELL_S, False
        with _lock:
            while _untold:
                _untold.pop().tell()


_lock = threading.Lock()
_untold: set[_Answers] = set()
_teller = _Teller()
tell_now = _teller.tell  # before a process ends


@functools.cache
def _of_deployment(names: tuple[str, str, str], route: str) -> _Answers:
    deployment, replica, application = names
    tags = {
        "deployment": deployment,
        "replica": replica,
        "application": application,
        "route": route,
    }
    name = "serve_deployment_"
    return _Answers(
        (f"{name}request_counter", "Requests that a replica has answered."),
        (f"{name}error_counter", "Requests that raised an error."),
        (f"{name}processing_latency_ms", "Time in the replica."),
        tags,
        tags,
    )


def replica_answered(
    names: tuple[str, str, str], route: str, began: float, *, failed: bool
) -> None:
    """A request of a deployment is over.

    Args:
        names: The deployment, the replica, the application.
        route: The route prefix that it came by; empty for handles of other programs.
        began: When it began, by `time.monotonic`.
        failed: Whether it raised.
    """
    _of_deployment(names, route).count(began, failed)


@functools.cache
def _of_http(route: str, method: str, application: str, status: int) -> _Answers:
    tags = {"route": route, "method": method, "application": application}
    return _Answers(
        ("serve_num_http_requests", "HTTP requests."),
        ("serve_num_http_error_requests", "HTTP requests with 4xx or 5xx."),
        ("serve_http_request_latency_ms", "Time from end to end."),
        {**tags, "status_code": str(status)},
        {**tags, "error_code": str(status)},
    )


def http_answered(route: str, method: str, application: str, status: int, began: float) -> None:
    """An HTTP request is over, whatever came of it."""
    # What clients invent is no tag: there could be any number of them.
    known = method if method in _METHODS else "OTHER"
    _of_http(route, known, application, status).count(began, status >= 400)


@functools.cache
def _of_grpc(application: str, method: str, status: str) -> _Answers:
    tags = {"application": application, "method": method, "route": application}
    return _Answers(
        ("serve_num_grpc_requests", "gRPC requests."),
        ("serve_num_grpc_error_requests", "gRPC requests not OK."),
        ("serve_grpc_request_latency_ms", "Time from end to end."),
        {**tags, "status_code": status},
        {**tags, "error_code": status},
    )


def grpc_answered(application: str, method: str, status: str, began: float) -> None:
    """A gRPC request is over, whatever came of it."""
    _of_grpc(application, method, status).count(began, status != "OK")


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
