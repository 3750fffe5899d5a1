"""Spans of OpenTelemetry for requests, where `tracing_config` asks for them. Loaded only then.

A request's span is below the one that its client names (header `traceparent`), and a call's below
that of the request which made it. Where spans go is the user's exporter's affair, or a file's.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from heliostat._state_folder import state_folder
from heliostat.serve._by_path import found_at
from heliostat.serve.context import RequestContext, serving
from heliostat.serve.server_options import TracingConfig

_HEADER = "traceparent"


def processors_of(config: TracingConfig) -> list[Any]:
    """The span processors that the config asks for.

    Raises:
        ImportError: Without OpenTelemetry's SDK, or an exporter that is not where its path says.
        TypeError: When it returns anything else.
    """
    try:
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        trace = importlib.import_module("opentelemetry.sdk.trace")
    except ImportError as error:
        raise ImportError(
            "tracing_config needs OpenTelemetry: pip install opentelemetry-api opentelemetry-sdk"
        ) from error
    if not config.exporter_import_path:
        folder = state_folder("serve-spans")
        file = open(folder / f"{os.getpid()}.json", "a", buffering=1)  # noqa: SIM115 - to its end
        return [export.SimpleSpanProcessor(export.ConsoleSpanExporter(out=file))]
    made = found_at(config.exporter_import_path, "exporter_import_path")()
    if not isinstance(made, Sequence) or not all(isinstance(p, trace.SpanProcessor) for p in made):
        raise TypeError(
            f"{config.exporter_import_path} must return a list of SpanProcessors, got {made!r}"
        )
    return list(made)


class Tracing(NamedTuple):
    """What `install` gives."""

    # Takes a span's name and attributes, and gives what stands in for `serving`.
    named: Callable[[str, dict[str, str]], Callable[..., serving]]
    close: Callable[[], None]  # writes the spans that processors still hold; may wait for that


def install(config: TracingConfig) -> Tracing:
    """Trace in this process from now on.

    Args:
        config: Where to, and how many.
    """
    trace = importlib.import_module("opentelemetry.sdk.trace")
    sampling = importlib.import_module("opentelemetry.sdk.trace.sampling")
    provider = trace.TracerProvider(
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(config.sampling_ratio))
    )
    for processor in processors_of(config):
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("heliostat.serve")

    def named(name: str, about: dict[str, str]) -> Callable[..., serving]:
        return functools.partial(_Traced, tracer, name, about)

    return Tracing(named, provider.shutdown)


class _Traced(serving):
    """The request that the code inside answers, in a span."""

    __slots__ = ("_span",)

    def __init__(
        self, tracer: Any, name: str, about: dict[str, str], request: RequestContext
    ) -> None:
        kind = importlib.import_module("opentelemetry.trace").SpanKind.SERVER
        tags = {**about, "request_id": request.request_id, "http.route": request.route}
        self._span = tracer.start_as_current_span(
            name, context=context_of(request.trace), kind=kind, attributes=tags
        )
        super().__init__(request)

    def __enter__(self) -> None:
        self._span.__enter__()
        carrier: dict[str, str] = {}
        _propagator().inject(carrier)
        self.request = self.request._replace(trace=carrier.get(_HEADER, ""))
        super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        self._span.__exit__(kind, *rest)


def context_of(trace: str) -> Any:
    """OpenTelemetry's context of a span in another process; None for an empty string."""
    return _propagator().extract({_HEADER: trace}) if trace else None


@functools.cache
def _propagator() -> Any:
    module = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    return module.TraceContextTextMapPropagator()
