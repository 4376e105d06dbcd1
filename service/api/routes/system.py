"""GET /v1/system: versions, limits and load of the server."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import psutil
from fastapi import APIRouter
from starlette.responses import Response

from energy_flow.engine import WorkerStatus
from energy_flow.runtime.cgroup import read_group_memory
from energy_flow.runtime.limits import computing_threads, find_cpu_limit
from service.api.answers import describe_answers
from service.api.dependencies import ServiceDep
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.schemas.system import SystemView
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1", tags=["system"])

PACKAGES: Final = ("energy-flow", "torch", "numpy", "fastapi", "uvicorn", "sqlalchemy", "pyarrow")
"""Distributions whose versions are reported."""


@router.get("/system", responses=describe_answers(SystemView))
async def describe_system(service: ServiceDep) -> Response:
    """Return versions, device, memory, engine, store and limits."""
    return JsonAnswer(await in_thread(Threads.READS, _describe, service))


def _describe(service: Service) -> dict[str, Any]:
    settings, catalog = service.settings, service.archive.catalog
    datasets, dataset_bytes = service.datasets.totals()
    disk = shutil.disk_usage(settings.data_dir)
    workers = service.executor.status()
    first = workers[0]
    return {
        "state": service.state,
        "ready": service.rejection_reason() is None,
        "versions": {"python": platform.python_version(), **_find_versions()},
        "device": first.device,
        "engine": asdict(first.engine),
        "workers": [_describe_worker(worker) for worker in workers],
        "memory": _describe_memory(first),
        "cpu": _describe_cpu(),
        "store": {
            "runs": catalog.count(),
            "ended_runs_bytes": service.archive.ended_bytes,
            "keep_runs_bytes": settings.keep_runs_bytes,
            "datasets": datasets,
            "datasets_bytes": dataset_bytes,
            "max_datasets_bytes": service.datasets.max_all_bytes,
            "models_bytes": service.models.stored.stored_bytes(),
            "max_models_bytes": service.models.stored.max_bytes,
            "disk_free_bytes": disk.free,
            "disk_total_bytes": disk.total,
        },
        "limits": {
            "max_body_bytes": settings.max_body_bytes,
            "max_upload_bytes": settings.max_upload_bytes,
            "max_samples": settings.max_samples,
            "max_queued_flow_steps": settings.max_queued_flow_steps,
            "max_active_requests": settings.max_active_requests,
        },
    }


def _find_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:  # The service runs from a checkout that is not installed.
            continue
    return found


def _describe_worker(worker: WorkerStatus) -> dict[str, Any]:
    engine = worker.engine
    return {
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "device": worker.device,
        "kind": worker.kind,
        "state": engine.state,
        "threads": worker.threads,
        "models": worker.models,
        "queued": engine.queued_runs,
        "active_flows": engine.active_flows,
        "memory": {**asdict(worker.memory), "admitted_bytes": engine.admitted_bytes},
        "last_heartbeat_ms": engine.heartbeat_age_seconds * 1e3,
    }


def _describe_memory(worker: WorkerStatus) -> dict[str, Any]:
    host, group = psutil.virtual_memory(), read_group_memory()
    return {
        **asdict(worker.memory),
        "host": {
            "rss_bytes": psutil.Process().memory_info().rss,
            "available_bytes": host.available,
            "total_bytes": host.total,
        },
        "group": None if group is None else asdict(group),
    }


def _describe_cpu() -> dict[str, Any]:
    limit = find_cpu_limit()
    return {"threads": computing_threads(), "cores": limit.cores, "source": limit.source}
