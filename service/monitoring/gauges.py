"""``StateCollector``: gauges that are read at each scrape: queue, pools, memory, store."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from energy_flow.choices import RunState
from energy_flow.engine import WorkerStatus
from energy_flow.runtime.cgroup import read_group_memory
from energy_flow.runtime.limits import MACHINE, computing_threads, find_cpu_limit
from service.monitoring.instruments import PREFIX

if TYPE_CHECKING:
    from service.lifespan import Service

# Bytes on macOS, kilobytes elsewhere.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


_Read = Callable[[WorkerStatus], float | None]

# Of each worker: the text of the metric, and its value, if it has one.
_WORKER_GAUGES: Final[Mapping[str, tuple[str, _Read]]] = {
    "engine_failed": (
        "Whether the engine has failed, so that the server must start again.",
        lambda worker: float(worker.engine.failure is not None),
    ),
    "engine_heartbeat_age_seconds": (
        "Time since the last heartbeat of the engine.",
        lambda worker: worker.engine.heartbeat_age_seconds,
    ),
    "queued_runs": ("Runs in the queue.", lambda worker: worker.engine.queued_runs),
    "queued_flow_steps": (
        "Upper bound of the flow-steps of the runs in the queue.",
        lambda worker: worker.engine.queued_flow_steps,
    ),
    "admitted_flow_steps": (
        "Upper bound of the flow-steps of the runs that have started.",
        lambda worker: worker.engine.admitted_flow_steps,
    ),
    "admitted_bytes": (
        "Predicted bytes of the samples in the pools.",
        lambda worker: worker.engine.admitted_bytes,
    ),
    "active_runs": ("Runs with samples in the pools.", lambda worker: worker.engine.active_runs),
    "active_samples": ("Samples in the pools.", lambda worker: worker.engine.active_samples),
    "active_flows": ("Flows in the pools.", lambda worker: worker.engine.active_flows),
    "pool_occupancy_ratio": (
        "Flows in the pools, relative to those up to which pools admit samples; spawning can "
        "exceed 1.",
        lambda worker: worker.engine.active_flows / worker.engine.pool_flows,
    ),
    "memory_limit_bytes": (
        "Predicted bytes that models and runs may have.",
        lambda worker: worker.memory.limit_bytes,
    ),
    "models_memory_bytes": (
        "Predicted bytes of loaded models, and reserved for work on others.",
        lambda worker: worker.memory.models_bytes,
    ),
}
_WORKER_COUNTERS: Final[Mapping[str, tuple[str, _Read]]] = {
    "flow_steps": (
        "Moves of one flow by one step.",
        lambda worker: worker.engine.flow_steps,
    ),
    "out_of_memory_splits": (
        "Times that the device ran out of memory and the work was split.",
        lambda worker: worker.engine.out_of_memory_splits,
    ),
}


class StateCollector(Collector):
    """A collector that reads the state of the service at each scrape.

    It blocks for queries of the index, so the event loop must not call it.

    Args:
        service: The service.
        version: Version of the package.
    """

    def __init__(self, service: Service, version: str) -> None:
        self._service = service
        self._version = version

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registration does not read a service that has not started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; only a few while the server starts."""
        service = self._service
        is_ready = service.rejection_reason() is None
        yield _gauge("ready", "Whether new work is accepted.", float(is_ready))
        yield from _host()
        if not service.is_open:
            return
        build = InfoMetricFamily(f"{PREFIX}_build", "Version and device of the server.")
        build.add_metric([], {"version": self._version, "device": service.device_type})
        yield build
        yield from self._workers()
        yield from self._device()
        yield from self._store()

    def _workers(self) -> Iterator[Metric]:
        workers = self._service.executor.status()
        for family, described in (
            (GaugeMetricFamily, _WORKER_GAUGES),
            (CounterMetricFamily, _WORKER_COUNTERS),
        ):
            for name, (text, read) in described.items():
                metric = family(f"{PREFIX}_{name}", text, labels=["worker"])
                for worker in workers:
                    value = read(worker)
                    if value is not None:
                        metric.add_metric([worker.name], value)
                if metric.samples:
                    yield metric
        # With the same labels as what is queued, so that rules can divide one by the other.
        limit = GaugeMetricFamily(
            f"{PREFIX}_queued_flow_steps_limit",
            "Most flow-steps in the queue; further runs are refused.",
            labels=["worker"],
        )
        for worker in workers:
            limit.add_metric([worker.name], self._service.settings.max_queued_flow_steps)
        yield limit

    def _device(self) -> Iterator[Metric]:
        texts = {
            "allocated": "Device memory in tensors when samples last ended.",
            "reserved": "Device memory of the allocator when samples last ended.",
            "peak": "Largest device memory in tensors during any step.",
        }
        for name, value in dict(self._service.instruments.device_memory).items():
            yield _gauge(f"device_memory_{name}_bytes", texts[name], value)

    def _store(self) -> Iterator[Metric]:
        service = self._service
        runs = GaugeMetricFamily(f"{PREFIX}_runs", "Stored runs.", labels=["state"])
        run_counts = service.archive.catalog.count_by_state()
        experiments = GaugeMetricFamily(
            f"{PREFIX}_experiments", "Stored experiments.", labels=["state"]
        )
        experiment_counts = service.experiments.store.count_by_state()
        for state in RunState:
            runs.add_metric([state], run_counts.get(state, 0))
            experiments.add_metric([state], experiment_counts.get(state, 0))
        yield runs
        yield experiments
        models = service.models.newest_first()
        loaded = sum(model.is_loaded for model in models)
        yield _gauge("models", "Registered models.", len(models))
        yield _gauge("models_loaded", "Loaded models.", loaded)
        yield _gauge("store_bytes", "Size of ended runs.", service.archive.ended_bytes)
        yield _gauge(
            "store_limit_bytes",
            "Most bytes of ended runs; the oldest are removed first.",
            service.archive.keep_bytes,
        )
        datasets, dataset_bytes = service.datasets.totals()
        yield _gauge("datasets", "Datasets by name.", datasets)
        yield _gauge("datasets_bytes", "Size of the files of all datasets.", dataset_bytes)
        yield _gauge(
            "models_bytes", "Size of all checkpoints.", service.models.stored.stored_bytes()
        )
        limits = {
            "datasets": service.datasets.max_all_bytes,
            "models": service.models.stored.max_bytes,
        }
        for name, limit in limits.items():
            if limit is not None:
                text = f"Most bytes of all {name}; beyond it, new ones are refused."
                yield _gauge(f"{name}_limit_bytes", text, limit)
        disk = shutil.disk_usage(service.settings.data_dir)
        yield _gauge("disk_free_bytes", "Free space on the disk of the data directory.", disk.free)


def _host() -> Iterator[Metric]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    resident = psutil.Process().memory_info().rss
    yield _gauge("host_memory_resident_bytes", "Resident memory of this process.", resident)
    yield _gauge(
        "host_memory_peak_bytes", "Largest resident memory of this process since its start.", peak
    )
    yield _gauge(
        "host_memory_limit_bytes", "Memory of this machine.", psutil.virtual_memory().total
    )
    cpu, group = find_cpu_limit(), read_group_memory()
    yield _gauge("cpu_limit_cores", "Cores that this process may use.", cpu.cores)
    yield _gauge("cpu_threads", "Threads on which a step computes on a CPU.", computing_threads())
    if group is not None:
        yield _gauge(
            "group_memory_limit_bytes",
            "Memory that the control group of this process may use.",
            group.limit_bytes,
        )
        yield _gauge(
            "group_memory_used_bytes",
            "Memory that the control group uses, without files in the page cache.",
            group.used_bytes,
        )
    limits = InfoMetricFamily(f"{PREFIX}_limits", "What sets the limits of memory and cores.")
    memory_source = MACHINE if group is None else group.source
    limits.add_metric([], {"memory": memory_source, "cpu": cpu.source})
    yield limits


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)
