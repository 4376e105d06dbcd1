"""POST /v1/simulate: embeddings in, everything out."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.dependencies import ServiceDep, client_gone, read_body
from service.api.openapi import REFUSALS, simulate_body, simulate_content
from service.api.simulate_request import check_answer_size, check_room, take_order
from service.api.simulate_response import chosen_form
from service.json_encoding import JsonAnswer
from service.runs.views import estimate_answer
from service.schemas import EstimateAnswer, SimulateAnswer

router = APIRouter(prefix="/v1", tags=["simulate"])


@router.post(
    "/simulate",
    response_model=SimulateAnswer | EstimateAnswer,
    responses={**REFUSALS, **simulate_content()},
    openapi_extra=simulate_body(),
)
async def simulate(
    request: Request,
    service: ServiceDep,
    dry_run: Annotated[
        bool, Query(description="check everything and tell the cost; run nothing")
    ] = False,
) -> Response:
    """Runs now and answers with everything, as JSON or, by ``Accept``, as ``.safetensors``.

    A client that hangs up ends its run within a step.
    """
    received = time.perf_counter()
    body = await read_body(request)
    order, model = await take_order(service, request, body, "dry_run")
    del body
    check_answer_size(order)
    if dry_run:
        check_room(service.engine, order)
        return JsonAnswer(estimate_answer(service.engine, order, model))
    form = chosen_form(request.headers.get("accept", ""))
    live = await service.runs.simulate(order, model, partial(client_gone, request))
    request.state.run_id = live.run_id
    total_ms = (time.perf_counter() - received) * 1e3
    assert live.gathered is not None
    try:
        if form.is_quick(live.gathered):
            answer = form.serialise(live, order, model, total_ms)
        else:
            answer = await asyncio.to_thread(form.serialise, live, order, model, total_ms)
    finally:
        live.release()
    return Response(answer, media_type=form.media_type)
