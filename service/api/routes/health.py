"""Probes: whether the process lives, and whether it takes work."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from service.api.dependencies import ServiceDep
from service.json_encoding import JsonAnswer
from service.problems import unavailable

router = APIRouter(tags=["health"])


@router.get("/livez", response_model=dict[str, str])
async def livez() -> Response:
    """Whether the event loop goes round; never waits for the engine."""
    return JsonAnswer({"status": "alive"})


@router.get("/readyz", response_model=dict[str, str])
async def readyz(service: ServiceDep) -> Response:
    """Whether new work is taken: 503 while starting or draining, or when the engine is stuck."""
    reason = service.accepting()
    if reason is not None:
        return unavailable(reason).response()
    return JsonAnswer({"status": "ready"})
