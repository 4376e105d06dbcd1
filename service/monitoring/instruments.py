"""Counters and histograms of one application, in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.trace.records import KINDS, REASONS
from service.runs.active_run import LiveRun
from service.store.catalog import ENDED

PREFIX = "energy_flow"

STEP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Seconds of one step of a pool: from a handful of flows to a full pool of a large model."""
TIME_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds of a request or a run: from one small sample to a data set."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
OTHER = "other"


class Instruments(Collector):
    """What is counted when it happens; any thread may call any method.

    Labels are of few values: templates of routes, never paths, and no names that callers choose.

    Attributes:
        registry: holds these and whatever else is registered there.
        device_memory: bytes when samples last ended, ``allocated`` and ``reserved``, and the
            ``peak`` of all steps; nothing on a CPU.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter(
            "http_requests", "Requests that were answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "http_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            TIME_BUCKETS,
            "method",
            "route",
        )
        self._in_progress = self._gauge("http_requests_in_progress", "Requests under way.")
        self._refusals = self._counter(
            "http_refusals", "Requests that were refused or failed.", "reason"
        )
        self._runs = self._counter("runs_ended", "Runs that have ended.", "state")
        self._queue_seconds = self._histogram(
            "run_queue_seconds", "From a run's submission to its first step.", TIME_BUCKETS
        )
        self._compute_seconds = self._histogram(
            "run_compute_seconds", "From a run's first step to its last.", TIME_BUCKETS
        )
        self._total_seconds = self._histogram(
            "run_total_seconds",
            "From a run's submission until its results were in their place.",
            TIME_BUCKETS,
        )
        self._step_seconds = self._histogram(
            "step_duration_seconds", "One step of a pool of flows.", STEP_BUCKETS
        )
        self._samples = self._counter("samples", "Samples that were simulated.")
        self._flows = self._counter("flows_started", "Flows that embeddings started.")
        self._spawned = self._counter("flows_spawned", "Flows that other flows spawned.")
        self._suppressed = self._counter("spawns_suppressed", "Spawns for which was no room.")
        self._reflected = self._counter("reflections", "Flows reflected by a wall.")
        self._terminated = self._counter("flows_terminated", "Flows that ended.", "reason")
        self._events = self._counter(
            "trace_events", "Events of traced kinds or not, recorded or not.", "kind"
        )
        self._records = self._counter("trace_records", "Trace records that were kept.", "kind")
        self._lost = self._counter(
            "trace_records_lost", "Trace records for which was no room.", "kind"
        )
        self.device_memory: dict[str, int] = {}
        # All that there can be, so that a rate is zero before it is anything else.
        for state in ENDED:
            self._runs.labels(state)
        for reason in REASONS:
            self._terminated.labels(reason)
        for counter in (self._events, self._records, self._lost):
            for kind in KINDS:
                counter.labels(kind)

    def collect(self) -> Iterator[Metric]:
        """Everything in the registry, without the moments at which each series began: they would
        double what is scraped, and tell little of a server that counts from its start."""
        for metric in self.registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric

    def request_began(self) -> None:
        """A request came in."""
        self._in_progress.inc()

    def request_ended(
        self, method: str, route: str, status: int | None, reason: str | None, seconds: float
    ) -> None:
        """A request was answered, or its client went away before.

        Args:
            route: its template.
            status: none where nothing was answered.
            reason: of a refusal.
        """
        method = method if method in METHODS else OTHER
        self._in_progress.dec()
        self._requests.labels(method, route, "none" if status is None else str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)
        if reason is not None:
            self._refusals.labels(reason).inc()

    def stepped(self, seconds: float) -> None:
        """A pool took a step."""
        self._step_seconds.observe(seconds)

    def chunk_ended(self, result: SimulationResult) -> None:
        """Samples of a run have ended."""
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
        # None on a CPU, where nothing is told rather than zero.
        for name, value in (
            ("allocated", memory.allocated_bytes),
            ("reserved", memory.reserved_bytes),
            ("peak", memory.peak_bytes),
        ):
            if value is not None:
                most = self.device_memory.get(name, 0) if name == "peak" else 0
                self.device_memory[name] = max(value, most)

    def run_ended(self, live: LiveRun) -> None:
        """A run has ended and is in its place."""
        if live.state not in ENDED:
            # It waits for the next start of the server.
            return
        self._runs.labels(live.state).inc()
        timing = live.timing()
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
