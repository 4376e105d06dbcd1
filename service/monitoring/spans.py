"""Spans of OpenTelemetry for requests and runs; imported only where they are exported."""

from __future__ import annotations

import os
import time
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from energy_flow.choices import RunState, unknown_name
from energy_flow.errors import ConfigError, Fault
from energy_flow.simulation.tally.result import SimulationResult
from service.monitoring.requests import find_route
from service.runs.active_run import ActiveRun
from service.runs.recorder import RunObserver

EXPORTERS: Final = ("otlp", "console", "none")
"""Values of ``OTEL_TRACES_EXPORTER`` that have a meaning here; the first one is the default."""

UNWATCHED: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths of requests without spans: probes and scrapes come at all times."""


def make_provider(version: str) -> TracerProvider:
    """Return what makes spans and exports them, set up by the usual variables ``OTEL_*``.

    Args:
        version: version of the server.

    Raises:
        ConfigError: ``OTEL_TRACES_EXPORTER`` is none of ``EXPORTERS``.
    """
    resource = Resource.create({SERVICE_VERSION: version})
    # Without OTEL_SERVICE_NAME, the SDK names the service after the interpreter.
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "energy-flow"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or EXPORTERS[0]
    if exporter not in EXPORTERS:
        message = f"cannot be {exporter!r}; {unknown_name(exporter, EXPORTERS)}"
        raise ConfigError(Fault(("OTEL_TRACES_EXPORTER",), message, exporter))
    if exporter == "otlp":
        # Imported here because it takes a fifth of a second.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    elif exporter == "console":
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    return provider


class RequestSpans:
    """Middleware that makes a span for each request, within that of its ``traceparent``.

    Args:
        app: The application.
        tracer: Makes the spans.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] in UNWATCHED:
            await self.app(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        status: int | None = None

        async def send_and_observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.start_as_current_span(
            scope["method"],
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"]},
        ) as span:
            try:
                await self.app(scope, receive, send_and_observe)
            finally:
                _describe_request(span, scope, status)


def _describe_request(span: Span, scope: Scope, status: int | None) -> None:
    route = find_route(scope)
    span.update_name(f"{scope['method']} {route}")
    span.set_attribute("http.route", route)
    state = scope.get("state", {})
    for name in ("request_id", "run_id"):
        if isinstance(value := state.get(name), str):
            span.set_attribute(f"energy_flow.{name}", value)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if status is None or status >= 500:
        span.set_status(StatusCode.ERROR)


class RunSpans(RunObserver):
    """An observer that also makes the spans of each run that has ended.

    A run has the span ``run``, within that of the request that submitted it, if one did. Within it
    are ``queue``, until its first step, ``steps``, and ``store``, until everything of it is stored.

    Args:
        observer: Counts what happens.
        tracer: Makes the spans.
    """

    def __init__(self, observer: RunObserver, tracer: Tracer) -> None:
        self._observer = observer
        self._tracer = tracer

    def chunk_ended(self, result: SimulationResult) -> None:
        """Count a chunk of samples."""
        self._observer.chunk_ended(result)

    def run_ended(self, run: ActiveRun, /) -> None:
        """Count a finalized run, and make its spans."""
        self._observer.run_ended(run)
        run.context.run(self._make_spans, run)

    def _make_spans(self, run: ActiveRun) -> None:
        now, monotonic = time.time_ns(), time.perf_counter()

        def as_time(seconds: float) -> int:
            return now - round((monotonic - seconds) * 1e9)

        begin = as_time(run.submitted_at)
        span = self._tracer.start_span(
            "run",
            start_time=begin,
            attributes={
                "energy_flow.run_id": run.run_id,
                "energy_flow.samples": run.samples,
                "energy_flow.state": run.state,
            },
        )
        # A run that was cancelled while it was queued has no steps.
        first = now if run.ended_at is None else as_time(run.ended_at)
        last = first
        if run.started_at is not None:
            first = as_time(run.started_at)
        parts = [("queue", begin, first), ("steps", first, last), ("store", last, now)]
        for name, start, end in parts:
            if end > start:
                context = set_span_in_context(span)
                self._tracer.start_span(name, context, start_time=start).end(end)
        if run.state is RunState.FAILED:
            span.set_status(StatusCode.ERROR, None if run.problem is None else str(run.problem))
        span.end(now)
