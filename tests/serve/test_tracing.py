"""Spans of requests: of HTTP, of calls below them, and of the user's own below these."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve import api, context
from heliostat.serve._replica import Identity, Replica
from heliostat.serve._tracing import processors_of
from heliostat.serve.config import DeploymentConfig

pytest.importorskip("opentelemetry.sdk.trace")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    ray.init(num_cpus=2)
    serve.start(
        http_options={"port": 0}, tracing_config=serve.TracingConfig(enabled=True, sampling_ratio=0)
    )
    url = api.describe()["urls"][0]
    with httpx.Client(base_url=url) as one:
        yield one
    serve.shutdown()
    ray.shutdown()


def spans(folder: Path) -> list[dict[str, Any]]:
    decoder, found = json.JSONDecoder(), []
    for file in (folder / "serve-spans").glob("*.json"):
        text = file.read_text().lstrip()
        while text:
            try:
                span, end = decoder.raw_decode(text)
            except ValueError:
                return []  # half of one
            found.append(span)
            text = text[end:].lstrip()
    return found


def test_a_request_its_call_and_the_users_span_are_one_trace(
    client: httpx.Client, tmp_path: Path, until: Callable[..., None]
):
    @serve.deployment(ray_actor_options={"num_cpus": 0})
    class Inner:
        def work(self) -> str:
            assert serve.get_trace_context() is not None
            return "done"

    @serve.deployment(ray_actor_options={"num_cpus": 0})
    class Front:
        def __init__(self, inner: serve.DeploymentHandle) -> None:
            self.inner = inner

        async def __call__(self, request: Any) -> str:
            return await self.inner.work.remote()  # type: ignore[no-any-return]

    serve.run(Front.bind(Inner.bind()))
    assert client.get("/").text == "done"  # of these none is sampled
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert client.get("/", headers=traced).text == "done"
    until(lambda: len(spans(tmp_path)) == 2)
    first, second = sorted(spans(tmp_path), key=lambda span: span["name"])
    assert [first["name"], second["name"]] == ["proxy_http_request", "replica_handle_request"]
    assert first["parent_id"] == f"0x{PARENT}"
    assert second["parent_id"] == first["context"]["span_id"]
    assert {span["context"]["trace_id"] for span in (first, second)} == {f"0x{TRACE}"}
    assert second["attributes"]["deployment"] == "Inner"


class Appended:
    """As a file to write to, which is never left open."""

    def write(self, text: str) -> None:
        with open(Path(os.environ["SPANS"], "spans.json"), "a") as file:
            file.write(text)

    def flush(self) -> None:
        pass


def held() -> list[Any]:
    """Spans that are written when there are many, or at the end."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    exporter = ConsoleSpanExporter(out=Appended())  # type: ignore[arg-type]
    return [BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000)]


def test_spans_that_a_processor_still_holds_are_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loggers_as_before: None
):
    async def work() -> str:
        return "done"

    async def go() -> None:
        replica = Replica(
            "app",
            "D",
            Identity("D#1"),
            DeploymentConfig(),
            None,
            serve.TracingConfig(True, "test_tracing:held", 1),
        )
        payload: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        payload.set_result((work, (), {}))
        await replica.start([payload], [])  # type: ignore[list-item]
        assert await replica.call("__call__", "/", "id", "app", "", "") == "done"
        assert not spans(tmp_path)
        await replica.drain()

    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    monkeypatch.setattr(context, "_replica", None)
    folder = tmp_path / "serve-spans"
    folder.mkdir()
    monkeypatch.setenv("SPANS", str(folder))
    asyncio.run(go())
    assert [span["name"] for span in spans(tmp_path)] == ["replica_handle_request"]


def exporters() -> list[Any]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return [SimpleSpanProcessor(InMemorySpanExporter())]


def no_list() -> str:
    return "spans"


def test_an_exporter_is_a_function_that_returns_span_processors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    here = "test_tracing"
    config = serve.TracingConfig(True, f"{here}:exporters", 1)
    assert len(processors_of(config)) == 1
    with pytest.raises(TypeError, match="must return a list of SpanProcessors"):
        processors_of(serve.TracingConfig(True, f"{here}:no_list", 1))
    with pytest.raises(ImportError, match="cannot be imported"):
        processors_of(serve.TracingConfig(True, f"{here}:nowhere", 1))
