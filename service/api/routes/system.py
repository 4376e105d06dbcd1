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
    return {
        "state": service.state,
        "ready": service.rejection_reason() is None,
        "versions": {"python": platform.python_version(), **_find_versions()},
        "device": str(service.engine.device),
        "engine": asdict(service.engine.status()),
        "memory": _describe_memory(service),
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


def _describe_memory(service: Service) -> dict[str, Any]:
    host, group = psutil.virtual_memory(), read_group_memory()
    return {
        "limit_bytes": service.engine.memory_limit_bytes,
        "models_bytes": service.engine.models_bytes,
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
