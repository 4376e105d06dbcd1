"""What is read at each scrape: queue, pools, memory, store."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.monitoring.instruments import PREFIX
from service.states import State

if TYPE_CHECKING:
    from service.lifespan import Service

# Kilobytes everywhere but on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class StateCollector(Collector):
    """Asks the service when it is scraped; nothing is measured in between.

    It blocks for a query of the index, so that a scrape is none for the event loop.
    """

    def __init__(self, service: Service, version: str) -> None:
        self._service = service
        self._version = version

    def describe(self) -> list[Metric]:
        """None in advance: registering asks nothing of a service that has not begun."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of it; little while the server starts."""
        service = self._service
        ready = service.accepting() is None
        yield _gauge("ready", "Whether new work is taken.", float(ready))
        yield from _host()
        if not service.opened:
            return
        build = InfoMetricFamily(f"{PREFIX}_build", "What runs here.")
        device = service.engine.device.type
        build.add_metric([], {"version": self._version, "device": device})
        yield build
        yield from self._engine()
        yield from self._device()
        yield from self._store()

    def _engine(self) -> Iterator[Metric]:
        engine = self._service.engine
        status = engine.status()
        gauges = {
            "engine_heartbeat_age_seconds": (
                "Since the engine's thread last came round.",
                status.heartbeat_age_seconds,
            ),
            "queued_runs": ("Runs that wait.", status.queued_runs),
            "queued_flow_steps": (
                "Upper bound of the flow-steps of the runs that wait.",
                status.queued_flow_steps,
            ),
            "queued_flow_steps_limit": (
                "Flow-steps that may wait; beyond it, runs are refused.",
                engine.max_queued_flow_steps,
            ),
            "admitted_flow_steps": (
                "Upper bound of the flow-steps of the runs that have started.",
                status.admitted_flow_steps,
            ),
            "admitted_bytes": (
                "Predicted bytes of the samples in the pools.",
                status.admitted_bytes,
            ),
            "active_runs": ("Runs with samples in the pools.", status.active_runs),
            "active_samples": ("Samples in the pools.", status.active_samples),
            "active_flows": ("Flows in the pools.", status.active_flows),
            "pool_occupancy_ratio": (
                "Flows in the pools over those that pools take in at once; spawning goes beyond 1.",
                status.active_flows / status.pool_flows,
            ),
        }
        for name, (text, value) in gauges.items():
            yield _gauge(name, text, value)
        yield _counter("flow_steps", "Moves of one flow by one step.", status.flow_steps)
        yield _counter(
            "out_of_memory_splits",
            "Times that the device ran out of memory and the work was split.",
            status.out_of_memory_splits,
        )

    def _device(self) -> Iterator[Metric]:
        limit = self._service.engine.memory_limit_bytes
        if limit is not None:
            yield _gauge("memory_limit_bytes", "What pools may hold, by prediction.", limit)
        texts = {
            "allocated": "Device memory in tensors, when samples last ended.",
            "reserved": "Device memory held by the allocator, when samples last ended.",
            "peak": "Most device memory in tensors during any step.",
        }
        held = dict(self._service.instruments.device_memory)
        for name, value in held.items():
            yield _gauge(f"device_memory_{name}_bytes", texts[name], value)

    def _store(self) -> Iterator[Metric]:
        service = self._service
        runs = GaugeMetricFamily(f"{PREFIX}_runs", "Runs that are kept.", labels=["state"])
        counted = service.archive.catalog.count_by_state()
        experiments = GaugeMetricFamily(
            f"{PREFIX}_experiments", "Experiments that are kept.", labels=["state"]
        )
        experiments_counted = service.experiments.store.count_by_state()
        for state in State:
            runs.add_metric([state], counted.get(state, 0))
            experiments.add_metric([state], experiments_counted.get(state, 0))
        yield runs
        yield experiments
        models = service.models.newest_first()
        loaded = sum(model.is_loaded for model in models)
        yield _gauge("models", "Models that are registered.", len(models))
        yield _gauge("models_loaded", "Models that are loaded.", loaded)
        yield _gauge("store_bytes", "What ended runs take.", service.archive.ended_bytes)
        yield _gauge(
            "store_limit_bytes",
            "What ended runs may take; beyond it, the oldest go.",
            service.archive.keep_bytes,
        )
        disk = shutil.disk_usage(service.settings.data_dir)
        yield _gauge("disk_free_bytes", "Free on the disk of the data directory.", disk.free)


def _host() -> Iterator[Metric]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    resident = psutil.Process().memory_info().rss
    yield _gauge("host_memory_resident_bytes", "Of this process.", resident)
    yield _gauge("host_memory_peak_bytes", "Most of this process since its start.", peak)
    yield _gauge("host_memory_limit_bytes", "Of this machine.", psutil.virtual_memory().total)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)
