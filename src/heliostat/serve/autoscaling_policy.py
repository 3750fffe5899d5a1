"""Policies for autoscaling where Ray has them, and a base for those that ask a Prometheus.

It knows nothing of deployments: `_autoscaler.py` calls a policy and carries out what it says.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heliostat.serve._checks import positive
from heliostat.serve.autoscaling import replica_queue_length_autoscaling_policy

__all__ = [
    "PrometheusQueryMixin",
    "PrometheusSample",
    "PrometheusScalar",
    "PrometheusVector",
    "default_autoscaling_policy",
    "replica_queue_length_autoscaling_policy",
]

logger = logging.getLogger("heliostat.serve")

_TIMEOUT_S = 5.0  # for one query
_PATH = "/api/v1/query"

default_autoscaling_policy = replica_queue_length_autoscaling_policy


@dataclass(frozen=True)
class PrometheusScalar:
    """A number without labels, and when it was true."""

    value: float
    timestamp: float


@dataclass(frozen=True)
class PrometheusSample:
    """One number of a vector, with its labels."""

    labels: Mapping[str, str]
    value: float
    timestamp: float


@dataclass(frozen=True)
class PrometheusVector:
    """The numbers of a query that has labels; none where nothing is measured."""

    samples: tuple[PrometheusSample, ...]


Answer = PrometheusScalar | PrometheusVector


class PrometheusQueryMixin:
    """Base of a policy that goes by what a Prometheus has measured.

    The first reading starts a thread that asks all queries again and again; reading never waits
    for the network. The thread ends with the policy.

    Args:
        prometheus_address: "host:port" or an URL; without one, the environment variable
            RAY_PROMETHEUS_HOST says it. Headers are taken from RAY_PROMETHEUS_HEADERS, in JSON.
        prometheus_queries: What to ask, in PromQL.
        fetch_interval_s: How long to wait between two rounds.
        cache_ttl_s: Answers that are older count as none.
        **kwargs: For the next class in line.

    Raises:
        TypeError: When the queries are one string.
        ValueError: For a time that is not above 0, or headers that are none.

    Example:
        >>> class ByDepth(PrometheusQueryMixin):
        ...     def __init__(self, **kwargs):
        ...         super().__init__(prometheus_queries=["sum(depth)"], **kwargs)
        ...     def __call__(self, ctx):
        ...         depth = (self.prometheus_metrics or {}).get("sum(depth)", 0)
        ...         return 1 + depth // 10, {}
        >>> ByDepth()(None)  # no Prometheus: as if nothing waited
        (1, {})
    """

    def __init__(
        self,
        *,
        prometheus_address: str | None = None,
        prometheus_queries: Sequence[str] | None = None,
        fetch_interval_s: float = 5.0,
        cache_ttl_s: float = 15.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        positive("fetch_interval_s", fetch_interval_s)
        positive("cache_ttl_s", cache_ttl_s)
        if isinstance(prometheus_queries, str):
            raise TypeError(f"prometheus_queries is a list of queries: {prometheus_queries!r}")
        address = prometheus_address or os.environ.get("RAY_PROMETHEUS_HOST")
        self._asks = _Asks(
            None if not address else _url(address),
            tuple(prometheus_queries or ()),
            _headers(os.environ.get("RAY_PROMETHEUS_HEADERS", "{}")),
            fetch_interval_s,
        )
        self._ttl_s = cache_ttl_s
        self._is_asking = False

    @property
    def prometheus_results(self) -> dict[str, Answer] | None:
        """The latest answer to each query that had one; None when there is none, or all are old."""
        if not self._is_asking and self._asks.url and self._asks.queries:
            self._is_asking = True
            asks = self._asks  # not `self`, which then would never go
            threading.Thread(target=asks.run, name="heliostat-prometheus", daemon=True).start()
            weakref.finalize(self, asks.over.set)
        return self._asks.latest(self._ttl_s)

    @property
    def prometheus_metrics(self) -> dict[str, float] | None:
        """The same, as numbers: of those answers that are one number."""
        found: dict[str, float] = {}
        for query, answer in (self.prometheus_results or {}).items():
            if isinstance(answer, PrometheusScalar):
                found[query] = answer.value
            elif len(answer.samples) == 1:
                found[query] = answer.samples[0].value
        return found or None


@dataclass
class _Asks:
    """What is asked, and what was answered; shared by a policy and its thread."""

    url: str | None
    queries: tuple[str, ...]
    headers: dict[str, str]
    interval_s: float
    over: threading.Event = field(default_factory=threading.Event)
    # Both at once, so that readers need no lock.
    answered: tuple[float, dict[str, Answer]] = (-math.inf, {})

    def run(self) -> None:
        while not self.over.is_set():
            found = {query: answer for query in self.queries if (answer := self._ask(query))}
            self.answered = time.monotonic(), found
            self.over.wait(self.interval_s)

    def latest(self, ttl_s: float) -> dict[str, Answer] | None:
        at, found = self.answered
        return dict(found) if found and time.monotonic() - at <= ttl_s else None

    def _ask(self, query: str) -> Answer | None:
        """One answer; a query that fails is told in the log, and the others go on."""
        try:
            request = urllib.request.Request(
                f"{self.url}?{urllib.parse.urlencode({'query': query})}", headers=self.headers
            )
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return _answer(json.load(response))
        except (OSError, ValueError) as error:
            logger.warning("the query %r to %s failed: %s", query, self.url, error)
            return None


def _url(address: str) -> str:
    whole = address.rstrip("/")
    if not whole.startswith(("http://", "https://")):
        whole = f"http://{whole}"
    return whole if whole.endswith(_PATH) else whole + _PATH


def _headers(text: str) -> dict[str, str]:
    """An object, or a list of pairs."""
    try:
        found = dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"RAY_PROMETHEUS_HEADERS is no object of JSON: {text!r}") from error
    if not all(isinstance(each, str) for pair in found.items() for each in pair):
        raise ValueError(f"RAY_PROMETHEUS_HEADERS has a name or value that is no text: {text!r}")
    return found


def _answer(body: Any) -> Answer | None:
    """What a Prometheus answered; None for a number that is none.

    Raises:
        ValueError: When it refused the query, or answered what is neither number nor vector.
    """
    if not isinstance(body, dict) or body.get("status") != "success":
        raise ValueError(body.get("error", body) if isinstance(body, dict) else body)
    kinds: dict[str, Callable[[Any], Answer | None]] = {"scalar": _scalar, "vector": _vector}
    data = body.get("data") or {}
    kind = data.get("resultType")
    if kind not in kinds:
        raise ValueError(f"its result is a {kind!r}; ask for a number or a vector")
    try:
        return kinds[kind](data["result"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its result cannot be read: {data!r}") from error


def _scalar(result: Any) -> Answer | None:
    timestamp, value = (float(each) for each in result)
    return PrometheusScalar(value, timestamp) if math.isfinite(value) else None


def _vector(result: Any) -> Answer:
    samples = []
    for each in result:
        timestamp, value = (float(part) for part in each["value"])
        # A quantile of nothing is NaN: that is no measurement.
        if math.isfinite(value):
            samples.append(PrometheusSample(dict(each.get("metric", {})), value, timestamp))
    return PrometheusVector(tuple(samples))
