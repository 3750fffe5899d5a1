"""Policies that ask a Prometheus, here one of our own that knows a few answers."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from heliostat.serve import autoscaling_policy as policies
from heliostat.serve import config
from heliostat.serve.autoscaling import AutoscalingPolicy

ANSWERS: dict[str, Any] = {
    "one": {"resultType": "scalar", "result": [5, "2.5"]},
    "none": {"resultType": "scalar", "result": [5, "NaN"]},
    "depth": {"resultType": "vector", "result": [{"metric": {"q": "a"}, "value": [5, "7"]}]},
    "many": {
        "resultType": "vector",
        "result": [{"metric": {"q": q}, "value": [5, q]} for q in ("1", "2", "NaN")],
    },
    "range": {"resultType": "matrix", "result": []},
    "broken": {"resultType": "vector", "result": [{"metric": {}}]},
}


class Known(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        data = ANSWERS.get(parse_qs(url.query)["query"][0])
        told = {"status": "success", "data": data} if data else {"status": "error", "error": "?"}
        self.send_response(200 if url.path == "/api/v1/query" else 404)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Known)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def asked(address: str, *queries: str, **options: Any) -> policies.PrometheusQueryMixin:
    return policies.PrometheusQueryMixin(
        prometheus_address=address, prometheus_queries=queries, fetch_interval_s=0.01, **options
    )


def test_answers_are_numbers_and_vectors(address: str, until: Callable[..., None]):
    policy = asked(address, *ANSWERS, "unknown")
    until(lambda: policy.prometheus_results is not None)
    results = policy.prometheus_results
    assert results is not None
    assert set(results) == {"one", "depth", "many"}
    assert results["one"] == policies.PrometheusScalar(2.5, 5)
    many = results["many"]
    assert isinstance(many, policies.PrometheusVector)
    assert [(dict(s.labels), s.value) for s in many.samples] == [({"q": "1"}, 1), ({"q": "2"}, 2)]
    assert policy.prometheus_metrics == {"one": 2.5, "depth": 7}


def test_the_thread_ends_with_the_policy(address: str, until: Callable[..., None]):
    policy = asked(address, "one")
    assert policy.prometheus_metrics in (None, {"one": 2.5})
    asks = policy._asks
    del policy
    gc.collect()
    assert asks.over.is_set()
    until(lambda: all(t.name != "heliostat-prometheus" for t in threading.enumerate()))


def test_an_old_answer_is_none(address: str, until: Callable[..., None]):
    policy = asked(address, "one", cache_ttl_s=1e-9)
    assert policy.prometheus_results is None
    until(lambda: bool(policy._asks.answered[1]))
    assert policy.prometheus_metrics is None


def test_without_an_address_or_queries_nobody_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_PROMETHEUS_HOST", raising=False)
    assert asked("", "one").prometheus_results is None
    assert asked("127.0.0.1:1").prometheus_metrics is None


def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(TypeError, match="prometheus_queries is a list of queries: 'one'"):
        policies.PrometheusQueryMixin(prometheus_queries="one")
    with pytest.raises(ValueError, match="cache_ttl_s must be > 0"):
        asked("x", cache_ttl_s=0)
    for wrong in ("{", "5", '{"a": 1}'):
        monkeypatch.setenv("RAY_PROMETHEUS_HEADERS", wrong)
        with pytest.raises(ValueError, match="RAY_PROMETHEUS_HEADERS"):
            asked("x")


def test_the_policy_of_replicas_queues_has_both_names():
    named = AutoscalingPolicy("heliostat.serve.autoscaling_policy:default_autoscaling_policy")
    assert named.get_policy() is config.AutoscalingPolicy().get_policy()
