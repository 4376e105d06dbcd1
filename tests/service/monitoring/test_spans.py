"""Spans of requests and runs: in memory, and as a collector receives them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.support.command_line import run
from tests.support.live_server import free_port
from tests.support.servers import ENDLESS, RunningServer, cancel, queue, rows, serving
from tests.support.waits import LIMIT_SECONDS, until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_TRACES_EXPORTER", "none")
        with serving(tmp_path_factory.mktemp("spans"), otel=True) as running:
            yield running


@pytest.fixture
def exported(server: RunningServer) -> InMemorySpanExporter:
    """Return an exporter that gets all further spans."""
    exporter = InMemorySpanExporter()
    provider = server.server.service.tracer_provider
    assert provider is not None
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def find(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    """Return the only span with a name, once it has ended."""

    def ended() -> list[ReadableSpan]:
        return [span for span in exporter.get_finished_spans() if span.name == name]

    (span,) = until(ended)
    return span


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def test_a_simulation_continues_the_trace_of_its_caller(
    server: RunningServer, exported: InMemorySpanExporter
) -> None:
    answer = server.client.post(
        "/v1/simulate",
        json={"embeddings": rows(3).tolist()},
        headers={**TRACEPARENT, "X-Request-ID": "mine"},
    ).raise_for_status()
    request = find(exported, "POST /v1/simulate")
    run = find(exported, "run")
    parts = [find(exported, name) for name in ("queue", "steps", "store")]

    for span in (request, run, *parts):
        context = span.get_span_context()
        assert context is not None
        assert f"{context.trace_id:032x}" == TRACE_ID
    assert parent_id(request) == int(PARENT_ID, 16)
    assert parent_id(run) == span_id(request)
    assert [parent_id(part) for part in parts] == [span_id(run)] * 3

    assert request.attributes is not None
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/simulate",
        "http.response.status_code": 200,
        "energy_flow.request_id": "mine",
        "energy_flow.run_id": answer.json()["run_id"],
    }
    assert run.attributes is not None
    assert run.attributes["energy_flow.run_id"] == answer.json()["run_id"]
    assert run.attributes["energy_flow.samples"] == 3
    assert run.attributes["energy_flow.state"] == "succeeded"

    # The parts follow each other, and are the whole of the run.
    edges = [times(part) for part in parts]
    assert edges[0][0] == times(run)[0]
    assert [edge[1] for edge in edges[:2]] == [edge[0] for edge in edges[1:]]
    assert edges[2][1] == times(run)[1]


def test_a_run_is_within_the_request_that_submitted_it(
    server: RunningServer, exported: InMemorySpanExporter
) -> None:
    run_id = queue(server.client, 2, options=ENDLESS)
    until(lambda: server.client.get(f"/v1/runs/{run_id}").json()["state"] == "running")
    request = find(exported, "POST /v1/runs")
    cancel(server.client, run_id)
    run = find(exported, "run")
    assert parent_id(run) == span_id(request)
    assert run.attributes is not None
    assert run.attributes["energy_flow.state"] == "cancelled"


def test_requests_without_a_trace_begin_one(
    server: RunningServer, exported: InMemorySpanExporter
) -> None:
    for traceparent in ("nonsense", f"00-{'0' * 32}-{PARENT_ID}-01"):
        headers = {"traceparent": traceparent}
        assert server.client.get("/v1/none", headers=headers).status_code == 404
    spans = [span for span in exported.get_finished_spans() if span.name == "GET other"]
    assert [parent_id(span) for span in spans] == [None, None]
    assert all(span.status.status_code is StatusCode.UNSET for span in spans)


def test_probes_have_no_spans(server: RunningServer, exported: InMemorySpanExporter) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        server.client.get(path).raise_for_status()
    server.client.get("/v1/system").raise_for_status()
    find(exported, "GET /v1/system")
    assert len(exported.get_finished_spans()) == 1


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Run what a collector is to an exporter; yield its address and what it received."""
    received: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    receiving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=receiving.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{receiving.server_port}", received
    finally:
        receiving.shutdown()
        receiving.server_close()
        thread.join(LIMIT_SECONDS)


def test_a_collector_gets_spans_until_the_server_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as (url, received):
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
        with serving(tmp_path, otel=True) as running:
            request = {"embeddings": rows(1).tolist()}
            running.client.post("/v1/simulate", json=request).raise_for_status()
        assert {path for path, _ in received} == {"/v1/traces"}
        names, resources = set(), []
        for _, message in received:
            for resource_spans in message.resource_spans:
                resources.append(
                    {one.key: one.value.string_value for one in resource_spans.resource.attributes}
                )
                for scope_spans in resource_spans.scope_spans:
                    names |= {span.name for span in scope_spans.spans}
    assert {"POST /v1/simulate", "run", "queue", "steps", "store"} <= names
    assert resources[0]["service.name"] == "energy-flow"
    assert resources[0]["deployment.environment"] == "tests"


def test_a_lost_collector_disturbs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with serving(tmp_path, otel=True) as running:
        request = {"embeddings": rows(1).tolist()}
        running.client.post("/v1/simulate", json=request).raise_for_status()


def test_an_unknown_exporter_is_refused(tmp_path: Path) -> None:
    done = run(
        "serve", "--otel", "--port", "0", "--data-dir", tmp_path, OTEL_TRACES_EXPORTER="zipkin"
    )
    assert done.returncode == 2
    assert "OTEL_TRACES_EXPORTER" in done.stderr
    assert "known are otlp, console, none" in done.stderr
    assert "Traceback" not in done.stderr
