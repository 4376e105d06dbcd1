"""GET /metrics: what Prometheus reads."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from service.api.dependencies import ServiceDep
from service.api.openapi import REFUSALS

router = APIRouter(tags=["monitoring"])


@router.get("/metrics", response_class=PlainTextResponse, responses={401: REFUSALS[401]})
async def read_metrics(request: Request, service: ServiceDep) -> Response:
    """Counters, histograms and gauges, in Prometheus' or OpenMetrics' text format by Accept."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(encode, service.instruments)
    return Response(text, headers={"Content-Type": content_type})
