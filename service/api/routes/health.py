"""Probes of orchestrators."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from service.api.answers import REFUSALS
from service.api.dependencies import ServiceDep
from service.json_encoding import JsonAnswer
from service.media_types import JSON
from service.problems import unavailable
from service.schemas.json_schema import refer_to
from service.schemas.system import HealthAnswer

router = APIRouter(tags=["health"])

_ALIVE: Final = {"description": "Yes", "content": {JSON: {"schema": refer_to(HealthAnswer)}}}


@router.get("/livez", responses={200: _ALIVE, 503: REFUSALS[503]})
async def livez(service: ServiceDep) -> Response:
    """Return whether the process can work; 503 once only a restart helps. Never wait for a step."""
    reason = service.restart_reason()
    if reason is not None:
        return unavailable(f"{reason}; start the server again").response()
    return JsonAnswer({"status": "alive"})


@router.get("/readyz", responses={200: _ALIVE, 503: REFUSALS[503]})
async def readyz(service: ServiceDep) -> Response:
    """Return whether new work is accepted; 503 while the server starts, drains or is stuck."""
    reason = service.rejection_reason()
    if reason is not None:
        return unavailable(reason).response()
    return JsonAnswer({"status": "ready"})
