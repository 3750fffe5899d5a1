"""Measures: what Serve records of requests, under Ray's names.

A family is made once for each set of tags, so that recording costs about a microsecond.
It knows no requests: who answers one says how it went.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from heliostat.util.metrics import Counter, Histogram

_MS: list[float] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000, 300000]


class _Answers(NamedTuple):
    requests: Counter
    errors: Counter
    latency_ms: Histogram


@functools.cache
def _of_deployment(deployment: str, replica: str, application: str, route: str) -> _Answers:
    tags = {
        "deployment": deployment,
        "replica": replica,
        "application": application,
        "route": route,
    }
    keys = tuple(tags)
    name = "serve_deployment_"
    made = _Answers(
        Counter(f"{name}request_counter", "Requests that a replica has answered.", keys),
        Counter(f"{name}error_counter", "Requests that raised an error.", keys),
        Histogram(f"{name}processing_latency_ms", "Time in the replica.", _MS, keys),
    )
    for each in made:
        each.set_default_tags(tags)
    return made


@functools.cache
def _of_http(route: str, method: str, application: str, status: str) -> _Answers:
    tags = {"route": route, "method": method, "application": application, "status_code": status}
    error_tags = {**tags, "error_code": status}
    del error_tags["status_code"]
    made = _Answers(
        Counter("serve_num_http_requests", "HTTP requests.", tuple(tags)),
        Counter(
            "serve_num_http_error_requests", "HTTP requests with 4xx or 5xx.", tuple(error_tags)
        ),
        Histogram("serve_http_request_latency_ms", "Time from end to end.", _MS, tuple(tags)),
    )
    made.requests.set_default_tags(tags)
    made.errors.set_default_tags(error_tags)
    made.latency_ms.set_default_tags(tags)
    return made


def replica_answered(
    names: tuple[str, str, str], route: str, seconds: float, *, failed: bool
) -> None:
    """A request of a deployment is over.

    Args:
        names: The deployment, the replica, the application.
        route: The route prefix that it came by; empty for handles of other programs.
        seconds: How long it took.
        failed: Whether it raised.
    """
    answers = _of_deployment(*names, route)
    answers.requests.inc()
    if failed:
        answers.errors.inc()
    answers.latency_ms.observe(seconds * 1000)


def http_answered(route: str, method: str, application: str, status: int, seconds: float) -> None:
    """An HTTP request is over, whatever came of it."""
    # What clients invent is no tag: there could be any number of them.
    known = method if method in _METHODS else "OTHER"
    answers = _of_http(route, known, application, str(status))
    answers.requests.inc()
    if status >= 400:
        answers.errors.inc()
    answers.latency_ms.observe(seconds * 1000)


@functools.cache
def _of_grpc(application: str, method: str, status: str) -> _Answers:
    tags = {"application": application, "method": method, "route": application}
    made = _Answers(
        Counter("serve_num_grpc_requests", "gRPC requests.", (*tags, "status_code")),
        Counter("serve_num_grpc_error_requests", "gRPC requests not OK.", (*tags, "error_code")),
        Histogram(
            "serve_grpc_request_latency_ms", "Time from end to end.", _MS, (*tags, "status_code")
        ),
    )
    made.requests.set_default_tags({**tags, "status_code": status})
    made.errors.set_default_tags({**tags, "error_code": status})
    made.latency_ms.set_default_tags({**tags, "status_code": status})
    return made


def grpc_answered(application: str, method: str, status: str, seconds: float) -> None:
    """A gRPC request is over, whatever came of it."""
    answers = _of_grpc(application, method, status)
    answers.requests.inc()
    if status != "OK":
        answers.errors.inc()
    answers.latency_ms.observe(seconds * 1000)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
