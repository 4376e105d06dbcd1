"""``Instruments``: counters and histograms of one application, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from energy_flow.choices import ENDED_STATES
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.trace.records import KINDS, REASONS
from service.runs.active_run import ActiveRun

PREFIX = "energy_flow"

STEP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Seconds of one step of a pool, from a few flows to a full pool of a large model."""
TIME_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds of a request or a run, from one small sample to a dataset."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
OTHER = "other"


class Instruments(Collector):
    """Counters and histograms of events; any thread may call any method.

    Labels have few values: templates of routes, never paths, and no names that callers choose.

    Attributes:
        registry: Registry of these and further metrics.
        device_memory: Bytes ``allocated`` and ``reserved`` when samples last ended, and the
            ``peak`` of all steps; empty on a CPU.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter(
            "http_requests", "Answered requests.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "http_request_duration_seconds",
            "Time from the arrival of a request to the end of its answer.",
            TIME_BUCKETS,
            "method",
            "route",
        )
        self._in_progress = self._gauge("http_requests_in_progress", "Requests in progress.")
        self._refusals = self._counter("http_refusals", "Refused and failed requests.", "reason")
        self._connections_refused = self._counter(
            "connections_refused", "Connections that were refused, or closed by a limit.", "reason"
        )
        self._runs = self._counter("runs_ended", "Ended runs.", "state")
        self._queue_seconds = self._histogram(
            "run_queue_seconds",
            "Time from the submission of a run to its first step.",
            TIME_BUCKETS,
        )
        self._compute_seconds = self._histogram(
            "run_compute_seconds", "Time from the first step of a run to its last.", TIME_BUCKETS
        )
        self._total_seconds = self._histogram(
            "run_total_seconds",
            "Time from the submission of a run until its results are stored or returned.",
            TIME_BUCKETS,
        )
        self._step_seconds = self._histogram(
            "step_duration_seconds", "One step of a pool of flows.", STEP_BUCKETS, "worker"
        )
        self._samples = self._counter("samples", "Simulated samples.")
        self._flows = self._counter("flows_started", "Flows that embeddings started.")
        self._spawned = self._counter("flows_spawned", "Flows that other flows spawned.")
        self._suppressed = self._counter("spawns_suppressed", "Spawns that did not fit.")
        self._reflected = self._counter("reflections", "Reflections of flows by walls.")
        self._terminated = self._counter("flows_terminated", "Ended flows.", "reason")
        self._events = self._counter("trace_events", "Events, recorded or not.", "kind")
        self._records = self._counter("trace_records", "Trace records that were kept.", "kind")
        self._lost = self._counter("trace_records_lost", "Trace records that did not fit.", "kind")
        self.device_memory: dict[str, int] = {}
        # All possible labels, so that rates start at zero.
        for state in ENDED_STATES:
            self._runs.labels(state)
        for reason in REASONS:
            self._terminated.labels(reason)
        for counter in (self._events, self._records, self._lost):
            for kind in KINDS:
                counter.labels(kind)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, without the creation times of their series.

        The creation times would double the size of a scrape, and all series start with the server.
        """
        for metric in self.registry.collect():
            metric.samples = [
                sample for sample in metric.samples if not sample.name.endswith("_created")
            ]
            yield metric

    def request_began(self) -> None:
        """Count a request that has arrived."""
        self._in_progress.inc()

    def request_ended(
        self, method: str, route: str, status: int | None, reason: str | None, seconds: float
    ) -> None:
        """Count a request that was answered, or whose client disconnected.

        Args:
            method: HTTP method.
            route: Template of the route.
            status: HTTP status; ``None`` if nothing was answered.
            reason: Reason of a refusal.
            seconds: Time since the arrival.
        """
        method = method if method in METHODS else OTHER
        self._in_progress.dec()
        self._requests.labels(method, route, "none" if status is None else str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)
        if reason is not None:
            self._refusals.labels(reason).inc()

    def connection_refused(self, reason: str) -> None:
        """Count a connection that was refused, or closed by a limit.

        Args:
            reason: Which limit.
        """
        self._connections_refused.labels(reason).inc()

    def watch_connections(self, count: Callable[[], int], reasons: Iterable[str]) -> None:
        """Report the number of connections.

        Args:
            count: Returns it; any thread may call it.
            reasons: Why connections may be refused; the count of each begins at zero.
        """
        for reason in reasons:
            self._connections_refused.labels(reason)
        self._gauge("connections", "Accepted connections.").set_function(count)

    def watch_bodies(self, count: Callable[[], int], limit: int) -> None:
        """Report the bytes of bodies in memory.

        Args:
            count: Returns them; any thread may call it.
            limit: Most bytes.
        """
        text = "Bytes of bodies in memory"
        self._gauge("body_bytes_in_flight", f"{text}.").set_function(count)
        self._gauge("body_bytes_in_flight_limit", f"{text} that may be.").set(limit)

    def watch_requests(self, count: Callable[[], int]) -> None:
        """Report the memory of requests.

        Args:
            count: Returns its bytes; any thread may call it.
        """
        text = "Predicted bytes of bodies, of what is made of them, and of answers."
        self._gauge("requests_memory_bytes", text).set_function(count)

    def watch_steps(self, worker: str) -> Callable[[float], None]:
        """Return what counts the steps of a worker's pools, given the seconds of each.

        Args:
            worker: Name of the worker.
        """
        return self._step_seconds.labels(worker).observe

    def chunk_ended(self, result: SimulationResult) -> None:
        """Count samples of a run that have ended.

        Args:
            result: Their results.
        """
        metrics = result.metrics.to_dict()
        self._samples.inc(len(result.samples))
        self._flows.inc(metrics["initial"])
        self._spawned.inc(metrics["spawned"])
        self._suppressed.inc(metrics["spawns_suppressed"])
        self._reflected.inc(metrics["reflected"])
        for reason, count in metrics["terminated"].items():
            self._terminated.labels(reason).inc(count)
        trace = result.trace
        for counter, counts in (
            (self._events, trace.totals),
            (self._records, trace.recorded),
            (self._lost, trace.dropped),
        ):
            for kind, count in counts.items():
                counter.labels(kind).inc(count)
        memory = result.memory
        # None on a CPU: then there is no such metric, rather than zero.
        for name, value in (
            ("allocated", memory.allocated_bytes),
            ("reserved", memory.reserved_bytes),
            ("peak", memory.peak_bytes),
        ):
            if value is not None:
                peak = self.device_memory.get(name, 0) if name == "peak" else 0
                self.device_memory[name] = max(value, peak)

    def run_ended(self, run: ActiveRun) -> None:
        """Count a run that has ended and whose results are stored or returned.

        Args:
            run: The run.
        """
        if run.state not in ENDED_STATES:
            # It continues at the next start of the server.
            return
        self._runs.labels(run.state).inc()
        timing = run.timing()
        self._queue_seconds.observe(timing["queue_ms"] / 1e3)
        self._compute_seconds.observe(timing["compute_ms"] / 1e3)
        self._total_seconds.observe(timing["total_ms"] / 1e3)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)
