"""GET /metrics: the metrics that Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from service.api.answers import REFUSALS
from service.api.dependencies import ServiceDep
from service.threads import Threads, in_thread

router = APIRouter(tags=["monitoring"])


@router.get("/metrics", response_class=PlainTextResponse, responses={401: REFUSALS[401]})
async def read_metrics(request: Request, service: ServiceDep) -> Response:
    """Return all metrics in the text format of Prometheus or, by Accept, of OpenMetrics."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    text = await in_thread(Threads.READS, encode, service.instruments)
    return Response(text, headers={"Content-Type": content_type})
